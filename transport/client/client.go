package client

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"carillon/transport/wire"
)

// Client is one device of one user. It lives from Dial until Close, Logout, or an end that the server decides
// (Disconnected).
type Client struct {
	cfg     Config
	ctx     context.Context // ends with the client
	cancel  context.CancelFunc
	running sync.WaitGroup // the connection's goroutine, token renewals, the address watch
	queue   *queue
	places  chan struct{} // one per outstanding operation
	route   func(remote string) (string, error)

	// Of Dial, then of the connection's goroutine.
	turn    int                  // index of the address that is tried first
	shunned map[string]time.Time // addresses where no redirect is followed, and until when
	fetched bool                 // a token was fetched since the last successful login because of a refusal

	mu       sync.Mutex
	state    ConnectionState
	link     *link         // logged in; nil while there is none
	changed  chan struct{} // closed and replaced when link or ended changes
	ended    error         // why the client has ended; nil while it lives
	session  SessionInfo
	calls    table
	ring     *time.Timer // fires when the next invitation's time is over; nil when none rings
	acting   map[CallID]int
	token    string
	stale    bool // ask TokenSource before the next login
	renewing bool
}

// SessionInfo is what the last login came to.
type SessionInfo struct {
	ID            string
	Node          string    // name of the node that answered
	Address       string    // host:port of it
	ServerTime    time.Time // at login, of the server's clock
	LoginTime     time.Time // the same instant, of this machine's clock
	Heartbeat     time.Duration
	SyncTruncated bool // the user has more live calls than the login told: see QueryCallInvitationList
}

// Dial connects to the first address that answers, logs in and returns. ctx bounds Dial only; without a deadline
// RequestBudget does. A server that refuses connections for being busy is tried again until then; when no address can be
// reached, or the login is refused, Dial fails at once.
//
// The error is an *Error: BadParameter for the config, the refusal's code, or ConnectionLost.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.RequestBudget)
		defer cancel()
	}
	c := &Client{
		cfg: cfg, queue: newQueue(cfg.EventQueue, cfg.OnEvent), places: make(chan struct{}, maxOutstanding), changed: make(chan struct{}),
		calls: table{user: cfg.UserID, device: cfg.DeviceID}, acting: make(map[CallID]int), token: cfg.Token, stale: cfg.TokenSource != nil,
		route: localAddress,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.turnTo(Connecting, nil)
	l, result, err := c.first(ctx)
	if err != nil {
		c.end(err)
		c.finish()
		return nil, err
	}
	c.adopt(l, result)
	c.running.Go(func() { c.run(l) })
	if cfg.Migrate {
		c.running.Go(c.watchAddress)
	}
	return c, nil
}

// first is Dial's connecting: rounds as long as servers say that they are busy.
func (c *Client) first(ctx context.Context) (*link, *wire.LoginResult, error) {
	for try := 0; ; try++ {
		l, result, err := c.round(ctx, "")
		if err == nil {
			return l, result, nil
		}
		if busy(err) && sleep(ctx, c.backoff(try)) == nil {
			continue
		}
		err = cmp.Or(c.final(err), err)
		if e := (*Error)(nil); !errors.As(err, &e) {
			err = newError(NotLoggedIn, err, "the server closed the connection")
		}
		return nil, nil, err
	}
}

// Close ends the client without logging the device out: for the server it is lost, and in grace until its heartbeats have
// been missing for heartbeat_timeout (SPEC 5). It waits until everything has stopped, but not for a running OnEvent.
func (c *Client) Close() error {
	c.end(ErrClosed)
	c.running.Wait()
	return nil
}

// Logout tells the server that the device goes offline now, and closes the client whatever the outcome.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.do(ctx, operation{query: true, frame: &wire.ClientFrame{Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}}})
	if errors.Is(err, ErrLoggedOut) {
		err = nil // the close came before the answer
	}
	if err == nil {
		c.end(ErrLoggedOut)
	}
	_ = c.Close()
	return err
}

// Done is closed when the client has ended, whoever ended it, and the last OnEvent has returned.
func (c *Client) Done() <-chan struct{} { return c.queue.done }

// Err tells why the client has ended; nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// State gives the present connection state.
func (c *Client) State() ConnectionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Session describes the last login.
func (c *Client) Session() SessionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Calls gives the calls that are live on this device: those that ring here, and those in which it is the main device.
// The order is that in which the device learned of them. At most 256 are kept.
func (c *Client) Calls() []CallInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls.list()
}

// Events gives the events one after the other, waiting for the next one, until the client has ended and all were taken.
// Several loops share the events between them. With Config.OnEvent it yields nothing.
func (c *Client) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for c.cfg.OnEvent == nil {
			e, ok := c.queue.next()
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// run keeps the client connected until it ends.
func (c *Client) run(l *link) {
	defer c.finish()
	tries := 0
	for {
		cause := c.serve(l)
		wait, to := c.plan(l, cause, &tries)
		if c.part(l, cause); c.ctx.Err() != nil {
			return
		}
		if l = c.reconnect(wait, to, &tries); l == nil {
			return
		}
	}
}

// part leaves a link that has ended, and ends the client if it must not come back.
func (c *Client) part(l *link, cause error) {
	l.close(cause, closeCodeFor(cause))
	if l.kicked {
		cause = ErrKickedOut
	}
	end := c.final(cause)
	if l.superseded && errors.Is(end, ErrKickedOut) {
		end = nil
	}
	if end == nil {
		c.refetch(cause)
	}
	c.mu.Lock()
	c.link = nil
	c.armRing()
	c.mu.Unlock()
	if end != nil {
		c.end(end)
	}
	if c.ctx.Err() == nil {
		c.cfg.Logger.Info("connection lost", "user", c.cfg.UserID, "device", c.cfg.DeviceID, "address", l.address, "err", cause)
		c.turnTo(Reconnecting, cause)
	}
}

// reconnect dials until it has a link, or gives nil when the client has ended.
func (c *Client) reconnect(wait time.Duration, to string, tries *int) *link {
	for {
		if sleep(c.ctx, wait) != nil || c.awaitRoom() != nil {
			return nil
		}
		l, result, err := c.round(c.ctx, to)
		if err == nil {
			c.adopt(l, result)
			return l
		}
		if end := c.final(err); end != nil {
			c.end(end)
			return nil
		}
		to, wait = "", c.backoff(*tries)
		*tries++
	}
}

// adopt makes l the connection: what the login told is applied, and operations go out.
func (c *Client) adopt(l *link, result *wire.LoginResult) {
	c.fetched = false
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	c.session = SessionInfo{
		ID: result.GetSessionId(), Node: result.GetNode(), Address: l.address, ServerTime: timeOf(result.GetServerTimeMs()),
		LoginTime: l.entered, Heartbeat: l.interval, SyncTruncated: result.GetSyncTruncated(),
	}
	c.state = Connected
	c.queue.push(ConnectionStateChanged{State: Connected, Address: l.address, Node: result.GetNode()})
	for _, e := range c.calls.sync(result, l.entered, c.acting) {
		c.queue.push(e)
	}
	for _, id := range c.calls.unacknowledged() {
		l.receipt(id)
	}
	c.callsChanged()
	c.wake()
}

// awaitRoom waits until the app has taken half of the events: a sync needs room.
func (c *Client) awaitRoom() error {
	for !c.queue.roomy() {
		select {
		case <-c.queue.drained:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	return nil
}

// end marks the client as ended; its goroutines stop by themselves. The first reason counts.
func (c *Client) end(why error) {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = why
		c.wake()
	}
	c.mu.Unlock()
	c.cancel()
}

// finish is the last act of the connection's goroutine.
func (c *Client) finish() {
	c.mu.Lock()
	c.link = nil
	if c.ring != nil {
		c.ring.Stop()
	}
	why := c.ended
	c.mu.Unlock()
	c.turnTo(Disconnected, why)
	c.queue.close()
}

func (c *Client) turnTo(s ConnectionState, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	c.queue.push(ConnectionStateChanged{State: s, Reason: why})
}

// wake lets those who wait for a link look again. c.mu is held.
func (c *Client) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// backoff gives a random wait below a bound that doubles with each try (full jitter).
func (c *Client) backoff(try int) time.Duration {
	bound := min(c.cfg.BackoffMin<<min(try, 20), c.cfg.BackoffMax)
	return rand.N(cmp.Or(max(bound, 0), c.cfg.BackoffMax) + 1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
