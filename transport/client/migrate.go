package client

import (
	"context"
	"errors"
	"net"
	"time"

	"carillon/transport/wire"
)

// maxMoves is how often one connection moves. A quic-go v0.64 server keeps one of the client's four connection IDs for each
// path that the connection has left, so it cannot answer on a third new path.
const maxMoves = 2

// Migrate moves the connection to a fresh socket (Config.Listen) without breaking it, as after a change of network. When
// the server does not answer on the new path within DialTimeout, the connection stays where it is and the error says so.
// A connection that has moved twice is replaced by a new one instead, as after a loss.
func (c *Client) Migrate(ctx context.Context) error {
	if c.cfg.Transport != nil {
		return newError(BadParameter, nil, "Migrate needs a socket of the client's own, not Transport")
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	l, err := c.ready(ctx)
	if err != nil {
		return newError(ConnectionLost, err, "no connection to move")
	}
	stop := context.AfterFunc(l.conn.Context(), cancel) // Probe does not look
	defer stop()
	switch err := l.move(ctx, c.open); {
	case errors.Is(err, errMoved):
		stop()
		l.fail(errMoved, wire.CloseGoingAway)
		if _, err := c.ready(ctx); err != nil {
			return newError(ConnectionLost, err, "reconnecting")
		}
	case err != nil:
		return newError(ConnectionLost, err, "Migrate")
	default:
		l.probe()
	}
	return nil
}

// move takes a fresh socket over. The old sockets must outlive the connection, closing one would end it; but the old path
// must go, it holds one of the few connection IDs.
func (l *link) move(ctx context.Context, open func() (socket, error)) error {
	l.moves.Lock()
	defer l.moves.Unlock()
	s, err := open()
	if err != nil {
		return err
	}
	if err := l.keep(s); err != nil {
		s.close()
		return err
	}
	path, err := l.conn.AddPath(s.transport)
	if err != nil {
		return err
	}
	if err := path.Probe(ctx); err != nil {
		_ = path.Close()
		return err
	}
	if err := path.Switch(); err != nil {
		return err
	}
	if l.path != nil {
		_ = l.path.Close()
	}
	l.path = path
	return nil
}

func (l *link) keep(s socket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dead:
		return net.ErrClosed
	case len(l.sockets) > maxMoves:
		return errMoved
	}
	l.sockets = append(l.sockets, s)
	return nil
}

// watchAddress migrates whenever this machine's address towards the server changes. A move that fails is tried again at
// the next look; a connection that is dead meanwhile is replaced by reconnecting.
func (c *Client) watchAddress() {
	tick := time.NewTicker(c.cfg.MigrateEvery)
	defer tick.Stop()
	var of *link
	var last string
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		l := c.link
		c.mu.Unlock()
		if l == nil {
			continue
		}
		now, err := c.route(l.host)
		switch {
		case err != nil: // no route at present
		case l != of:
			of, last = l, now
		case now != last:
			if c.migrateBriefly() == nil {
				last = now
			}
		}
	}
}

func (c *Client) migrateBriefly() error {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.MigrateEvery)
	defer cancel()
	err := c.Migrate(ctx)
	c.cfg.Logger.Info("local address changed", "user", c.cfg.UserID, "err", err)
	return err
}

// localAddress gives the address that packets to remote leave from; nothing is sent.
func localAddress(remote string) (string, error) {
	conn, err := net.Dial("udp", remote)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}
