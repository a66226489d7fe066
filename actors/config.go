package actors

import (
	"log/slog"
	"sync"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// Config is what the actors of one node run under. Every field is needed unless it says otherwise.
type Config struct {
	Node      string // stable name of this node
	Advertise string // where clients reach this node, host:port; told to those who have logged in elsewhere
	Secret    []byte // keys the call IDs; the same on all nodes and after every restart
	Calls     call.Rules
	Sessions  session.Rules
	Limits    Limits

	DefaultTimeout    time.Duration // of an invitation that names none
	HeartbeatInterval time.Duration // told to clients at login

	Cluster Cluster       // nil: this node is alone
	Spread  time.Duration // over which clients are asked to follow their sessions to another node

	Store  Store
	Users  Users // nil: registration is open
	Now    func() time.Time
	Logger *slog.Logger
	Tracer Tracer // nil: no spans
	// Wait says how long work waited for a processor since it was last asked; nil: not known. Only one goroutine asks at a time.
	Wait  func() time.Duration
	Watch Observer // the zero value observes nothing

	patience *patience  // nil: nobody shares
	macs     *sync.Pool // of hash.Hash, with Secret; nil: none are kept
}

// Limits bound what one request may carry and how many may come (SPEC 4). Sizes are in bytes.
type Limits struct {
	ExtendedData, PushTitle, PushContent, PushPayload int

	RequestsPerSecond float64 // per device, sustained
	RequestBurst      int     // per device
	InFlightPerDevice int     // unanswered requests of one device
	InFlight          int     // unanswered requests of the whole node

	TargetWait time.Duration // how long work may wait before new work is refused; 0: for ever
}

// Observer hears what happens, for metrics; each func may be nil, must be quick and is called from many goroutines.
type Observer struct {
	Operation func(op string, code call.Code, took time.Duration) // one request, from its frame to its answer
	Ring      func(time.Duration)                                 // from the invitation to its first receipt
	Phase     func(from, to Phase)                                // a call in memory went from one phase to another
	Save      func(err error)                                     // one write that failed
	Panic     func(actor string)                                  // an actor broke down and will be loaded again
	Fenced    func()                                              // another owner had written a call
	Repaired  func(how string)                                    // something lost was made good: "tell", "recall", "gap"
	Unknown   func()                                              // a message of another node that this version does not know
}

// idleAfter is how long a quiet call or session stays in memory.
const idleAfter = time.Minute

// maxConflicts is how often a command is applied anew because another owner has written.
const maxConflicts = 4

// Phase is what a call in memory is doing.
type Phase uint8

// The phases; PhaseNone is a call that is not in memory.
const (
	PhaseNone     Phase = iota
	PhaseRinging        // somebody is pending
	PhaseAnswered       // nobody is pending
	PhaseEnding         // ended, not everybody knows yet
)

func (o *Observer) repaired(how string) {
	if o.Repaired != nil {
		o.Repaired(how)
	}
}

func (o *Observer) operation(op string, code call.Code, took time.Duration) {
	if o.Operation != nil {
		o.Operation(op, code, took)
	}
}
