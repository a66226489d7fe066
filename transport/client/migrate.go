package client

import (
	"context"
	"net"
	"time"
)

// maxMoves bounds the sockets of one connection: the old ones stay open as long as it lives.
const maxMoves = 8

// Migrate moves the connection to a fresh socket (Config.Listen) without breaking it, as after a change of network. When
// the server does not answer on the new path, the connection stays where it is and the error says so.
func (c *Client) Migrate(ctx context.Context) error {
	if c.cfg.Transport != nil {
		return newError(BadParameter, nil, "Migrate needs a socket of the client's own, not Transport")
	}
	l, err := c.ready(ctx)
	if err != nil {
		return newError(ConnectionLost, err, "no connection to move")
	}
	s, err := c.open()
	if err != nil {
		return newError(ConnectionLost, err, "Migrate")
	}
	if err := l.move(ctx, s); err != nil {
		return newError(ConnectionLost, err, "Migrate")
	}
	l.probe()
	return nil
}

// move takes s over. The old transports must outlive the connection: closing one would end it.
func (l *link) move(ctx context.Context, s socket) error {
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
	return path.Switch()
}

func (l *link) keep(s socket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dead:
		return net.ErrClosed
	case len(l.sockets) > maxMoves:
		return newError(BadParameter, nil, "the connection has moved %d times", maxMoves)
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
		now, err := c.route(l.conn.RemoteAddr().String())
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
