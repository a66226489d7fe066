package actors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/persistence"
	"carillon/transport/wire"
)

// rig is a System on a memory store in a bubble of virtual time, and the phones on it.
type rig struct {
	*testing.T
	cfg    Config
	sys    *System
	store  *persistence.Memory
	conns  uint64
	phones []*phone
}

// bubble runs a test in virtual time. The settings may be changed before the system starts.
func bubble(t *testing.T, change func(*Config), play func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, store: persistence.NewMemory(persistence.Config{Retention: 30 * 24 * time.Hour, Logger: quiet})}
		r.cfg = testConfig(r.store)
		if change != nil {
			change(&r.cfg)
		}
		defer r.store.Close()
		r.start()
		defer func() { r.stop() }()
		play(r)
	})
}

func testConfig(s Store) Config {
	return Config{
		Node: "n", Secret: []byte("a secret of the test"), Store: s, Now: time.Now, Logger: quiet,
		Calls:    call.Rules{NotReceivedAfter: 5 * time.Second, MaxDuration: 24 * time.Hour, MaxInvitees: 9, MaxUsers: 10},
		Sessions: session.Rules{MaxDevices: 10, HeartbeatTimeout: 35 * time.Second},
		Limits: Limits{
			ExtendedData: 2048, PushTitle: 256, PushContent: 1024, PushPayload: 4096,
			RequestsPerSecond: 20, RequestBurst: 60, InFlightPerDevice: 16, InFlight: 1000,
		},
		DefaultTimeout: 90 * time.Second, HeartbeatInterval: 10 * time.Second,
	}
}

func (r *rig) start() {
	r.Helper()
	r.sys = NewSystem(r.cfg)
	if err := r.sys.Start(context.Background()); err != nil {
		r.Fatal(err)
	}
}

// stop ends the system as a process that dies ends it: nobody logs out.
func (r *rig) stop() {
	for _, p := range r.phones {
		p.hangUp()
	}
	r.phones = nil
	r.sys.Close()
}

// pass lets time go by until everything that it sets off is done.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d) // virtual: this is the bubble's clock
	synctest.Wait()
}

// phone is a client on a recording connection: a Device.
type phone struct {
	r      *rig
	id     uint64
	g      *Gateway
	asked  uint64
	slowed atomic.Int64 // frames
	hungUp bool

	mu     sync.Mutex
	heard  []*wire.ServerFrame
	pushes []int    // bytes of each Send
	bye    *closing // the first Close
	away   []string // where it was asked to go
}

func (p *phone) ID() uint64 { return p.id }
func (p *phone) LoggedIn()  {}
func (p *phone) Slow(n int) { p.slowed.Add(int64(n)) }

func (p *phone) GoAway(_ time.Duration, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = append(p.away, to)
}

func (p *phone) Send(frames []byte) {
	in := wire.NewReader(bytes.NewReader(frames), wire.MaxServerFrame)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes = append(p.pushes, len(frames))
	for {
		b, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		f := &wire.ServerFrame{}
		if err != nil || proto.Unmarshal(b, f) != nil {
			p.r.Errorf("a frame that does not parse: %v", err)
			return
		}
		p.heard = append(p.heard, f)
	}
}

func (p *phone) Close(code uint64, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bye == nil {
		p.bye = &closing{code, reason}
	}
}

// ended gives the close code, or -1.
func (p *phone) ended() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bye == nil {
		return -1
	}
	return int(p.bye.Code)
}

// hangUp breaks the connection.
func (p *phone) hangUp() {
	if !p.hungUp {
		p.hungUp = true
		p.g.Closed()
	}
}

// connect opens a connection without logging in.
func (r *rig) connect() *phone {
	r.conns++
	p := &phone{r: r, id: r.conns}
	p.g = r.sys.Open(p)
	r.phones = append(r.phones, p)
	return p
}

// login connects a device and takes it in.
func (r *rig) login(user, device string, known ...*wire.KnownCall) *phone {
	r.Helper()
	p := r.connect()
	p.asked++
	p.g.Login(&wire.ClientFrame{RequestId: p.asked, Body: &wire.ClientFrame_Login{Login: &wire.Login{
		UserId: user, DeviceId: device, KnownCalls: known,
	}}})
	synctest.Wait()
	return p
}

// ask sends a request with a fresh command ID and gives its answer, nil if none has come when all is quiet.
func (p *phone) ask(f *wire.ClientFrame) *wire.Response {
	p.r.Helper()
	p.send(f)
	synctest.Wait()
	return p.answer(p.asked)
}

func (p *phone) send(f *wire.ClientFrame) {
	p.asked++
	f.RequestId = p.asked
	if f.CommandId == nil {
		f.CommandId = binary.BigEndian.AppendUint64(make([]byte, 8), commands.Add(1))
	}
	p.g.Handle(f)
}

var commands atomic.Uint64

func (p *phone) answer(request uint64) *wire.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.heard {
		if r := f.GetResponse(); r != nil && r.GetRequestId() == request {
			return r
		}
	}
	return nil
}

// takeEvents gives the events that have come since the last time.
func (p *phone) takeEvents() []*wire.Event {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*wire.Event
	for _, f := range p.heard {
		if e := f.GetEvent(); e != nil {
			out = append(out, e)
		}
	}
	p.heard = slices.DeleteFunc(p.heard, func(f *wire.ServerFrame) bool { return f.GetEvent() != nil })
	return out
}

func (p *phone) heartbeat() {
	p.g.Handle(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, wire.MinHeartbeat)}}})
}

// stay lets time go by while the phones send their heartbeats.
func (r *rig) stay(d time.Duration, phones ...*phone) {
	for d > 0 {
		step := min(d, r.cfg.HeartbeatInterval)
		r.pass(step)
		for _, p := range phones {
			p.heartbeat()
		}
		d -= step
	}
	synctest.Wait()
}

func invite(users ...string) *wire.ClientFrame {
	return &wire.ClientFrame{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: users}}}
}

func inviteAdvanced(users ...string) *wire.ClientFrame {
	f := invite(users...)
	f.GetCallInvite().Mode = wire.CallMode_CALL_MODE_ADVANCED
	return f
}

func accept(id uint64) *wire.ClientFrame {
	return &wire.ClientFrame{Body: &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{CallId: id}}}
}

func reject(id uint64) *wire.ClientFrame {
	return &wire.ClientFrame{Body: &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{CallId: id}}}
}

func query(count uint32) *wire.ClientFrame {
	return &wire.ClientFrame{Body: &wire.ClientFrame_QueryCallInvitationList{
		QueryCallInvitationList: &wire.QueryCallInvitationList{Count: count},
	}}
}

// must gives an answer that is a success.
func (p *phone) must(f *wire.ClientFrame) *wire.Response {
	p.r.Helper()
	return p.success(p.ask(f))
}

func (p *phone) success(r *wire.Response) *wire.Response {
	p.r.Helper()
	if r == nil || r.GetCode() != 0 {
		p.r.Fatalf("answer: %v", r)
	}
	return r
}

// code is the code of an answer, or -1 when there is none.
func code(r *wire.Response) int {
	if r == nil {
		return -1
	}
	return int(r.GetCode())
}
