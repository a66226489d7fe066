//go:build !carillon_next

package actors

// next does nothing: see next.go.
func (*System) next(uint16) {}
