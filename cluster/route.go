package cluster

import (
	"errors"
	"sync/atomic"
	"time"
)

// enter gives the present view and keeps it from settling until the returned counter is decremented: whoever changes the
// view waits for those who act by the old one.
func (c *Cluster) enter(shard uint16) (*View, *atomic.Int64) {
	for {
		v := c.view.Load()
		users := &v.inside[shard%stripes].users
		users.Add(1)
		if c.view.Load() == v {
			return v, users
		}
		users.Add(-1)
	}
}

// route takes a message of this node's on its way.
func (c *Cluster) route(f frame) error {
	v, users := c.enter(f.shard)
	defer users.Add(-1)
	f.view = v.Version
	if v.Local(f.shard) {
		return c.count(c.local(f))
	}
	return c.count(c.toOwner(v, f))
}

// toOwner sends a frame to its owner by the view.
func (c *Cluster) toOwner(v *View, f frame) error {
	owner := v.ownerName(f.shard)
	if owner == "" {
		return ErrNoOwner
	}
	return c.carrier.send(owner, f)
}

// local delivers a frame for a shard of this node, or holds it.
func (c *Cluster) local(f frame) error {
	held, err := c.holds.keep(f)
	if !held {
		c.cfg.Deliver(f.shard, f.kind, f.body)
		return nil
	}
	c.stats.Held.Add(1)
	return err
}

// receive takes a frame from another node, on the goroutine of its connection.
func (c *Cluster) receive(from string, f frame) {
	switch {
	case c.closed.Load():
	case f.class == toShard && f.shard < Shards:
		c.arrive(f)
	case f.class == toNode:
		c.cfg.Direct(from, f.kind, f.body)
	case f.class == question && c.cfg.Answer != nil:
		c.answer(from, f)
	case f.class == reply:
		c.replies.take(f.body)
	case f.class == toCluster && (f.kind == kindAsk || f.kind == kindDone):
		n, err := decodeNotice(f.body)
		if err != nil {
			c.stats.Unknown.Add(1)
			return
		}
		select {
		case c.inbox <- notification{from: from, kind: f.kind, notice: n}:
		default:
			c.stats.Overflowed.Add(1)
		}
	default:
		c.stats.Unknown.Add(1)
	}
}

// arrive takes a frame that somebody believes to be this node's. If it is not, either the sender's view is behind, and the
// frame is passed on; or ahead, and the frame waits for that view. Content says which: a view that this node has replaced
// is behind. Because a view can come back, a frame that was passed on before is taken for one that is ahead, unless its view
// was replaced while it waited here: two nodes would toss it to and fro.
func (c *Cluster) arrive(f frame) {
	v, users := c.enter(f.shard)
	defer users.Add(-1)
	switch {
	case v.Local(f.shard):
		f.view = v.Version
		_ = c.count(c.local(f))
	case v.ownerName(f.shard) == "": // all are leaving, as far as this node knows
		c.wait(f)
	case f.hops == 0 && v.outran(f.view), !f.until.IsZero() && v.older[f.view].After(f.until.Add(-c.cfg.Tuning.EarlyTimeout)):
		c.pass(v, f)
	default:
		c.wait(f)
	}
}

// wait keeps a frame for a view to come.
func (c *Cluster) wait(f frame) {
	c.stats.Early.Add(1)
	_ = c.count(c.holds.wait(f, time.Now().Add(c.cfg.Tuning.EarlyTimeout)))
}

// pass sends a frame on.
func (c *Cluster) pass(v *View, f frame) {
	if f.hops++; f.hops > maxHops {
		c.stats.Unrouted.Add(1)
		return
	}
	f.view, f.until = v.Version, time.Time{}
	c.stats.Forwarded.Add(1)
	_ = c.count(c.toOwner(v, f))
}

// giveUp sends on an early frame that has waited in vain. Where all are leaving there is nobody to send it to: it waits twice
// more.
func (c *Cluster) giveUp(f frame) {
	v, users := c.enter(f.shard)
	defer users.Add(-1)
	if v.Local(f.shard) {
		f.view = v.Version
		_ = c.count(c.local(f))
		return
	}
	if again := f.hops + maxHops/2; v.ownerName(f.shard) == "" && again <= maxHops {
		f.hops, f.until = again, time.Time{}
		c.wait(f)
		return
	}
	c.pass(v, f)
}

// requeue routes what had not left for a node that is gone.
func (c *Cluster) requeue(left []frame) {
	for _, f := range left {
		switch f.class {
		case toShard:
			c.stats.Requeued.Add(1)
			_ = c.route(f)
		case toNode:
			c.stats.Undelivered.Add(1)
		}
	}
}

// count counts an error by its kind.
func (c *Cluster) count(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, ErrOverflow):
		c.stats.Overflowed.Add(1)
	case errors.Is(err, ErrNoOwner), errors.Is(err, ErrUnknownNode):
		c.stats.Unrouted.Add(1)
	}
	return err
}
