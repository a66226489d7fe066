package client

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// Where to log in is decided here: Config.Addresses in turn, and beside them one address that the server has named.
const (
	hintPatience = 2 * time.Second // for an address that is tried although there are others; at most DialTimeout
	shunFor      = 5 * time.Second // for other nodes to notice that a node is dead (SPEC 9.5)
	maxShunned   = 32
	steady       = time.Second // a connection that lasted this long was a success, if it was the node that went
)

// plan decides when and where to reconnect after l has ended by cause, and counts the attempt: tries is how many came before
// it without a lasting success. An empty address means any.
func (c *Client) plan(l *link, cause error, tries *int) (wait time.Duration, to string) {
	to = l.address
	lasting := c.cfg.BackoffMax
	silent := deadPeer(cause)
	code, closed := remoteClose(cause)
	switch {
	case silent:
		c.shun(l.address)
		lasting = min(lasting, steady)
	case closed && code == wire.CloseGoingAway:
		lasting = min(lasting, steady)
	}
	if silent || closed && (code == wire.CloseGoingAway || code == wire.CloseOverloaded) {
		c.passOver(l.address)
		to = ""
	}
	if time.Since(l.born) > lasting {
		*tries = 0
	}
	wait = c.backoff(*tries)
	*tries++
	if at := l.moving(); !at.IsZero() {
		c.passOver(l.address)
		wait, to = max(0, time.Until(at)), l.moveTo
	}
	return wait, to
}

// passOver makes address the last one to be tried, if it is one of Addresses. If it is not, a redirect has led there, and the
// node that gave it is next.
func (c *Client) passOver(address string) {
	if i := slices.Index(c.cfg.Addresses, address); i >= 0 {
		c.turn = (i + 1) % len(c.cfg.Addresses)
	}
}

// candidates gives the addresses of a round in their order, first (if any) before the others.
func (c *Client) candidates(first string) []string {
	list := slices.Concat(c.cfg.Addresses[c.turn:], c.cfg.Addresses[:c.turn])
	if first == "" {
		return list
	}
	return append([]string{first}, slices.DeleteFunc(list, func(a string) bool { return a == first })...)
}

// shun notes an address where nobody answered or the login failed. It is tried in its turn like any other, but no redirect is
// followed there for a while.
func (c *Client) shun(address string) {
	now := time.Now()
	maps.DeleteFunc(c.shunned, func(_ string, until time.Time) bool { return !now.Before(until) })
	if c.shunned == nil || len(c.shunned) >= maxShunned {
		c.shunned = make(map[string]time.Time)
	}
	c.shunned[address] = now.Add(shunFor)
}

// deadPeer reports that a connection ended because the other side said nothing, not even that it has restarted.
func deadPeer(cause error) bool {
	if _, closed := remoteClose(cause); closed || errors.As(cause, new(*quic.StatelessResetError)) {
		return false
	}
	return errors.Is(cause, errNoEcho) || errors.Is(cause, errNoWriter) || errors.As(cause, new(*quic.IdleTimeoutError))
}
