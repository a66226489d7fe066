package call

import "errors"

// Transition is one compare-and-set write: Next replaces the stored record if that record's Revision is Prev.Revision.
// A zero Prev creates the call, which must not exist. Next.Revision is above Prev.Revision.
type Transition struct {
	Prev State // the record as this owner last loaded or saved it
	Next State
}

// What a store answers. Each is tested with errors.Is.
var (
	ErrConflict    = errors.New("another owner has written this call")        // reload, apply again
	ErrUnavailable = errors.New("the store takes no writes")                  // not written, nothing changed
	ErrUnknown     = errors.New("the store did not say whether it has saved") // written or not: reload before going on
	ErrNotFound    = errors.New("no such call")
	ErrNewer       = errors.New("the record was written by a newer version")
)
