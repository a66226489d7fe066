package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the admin listener.
const (
	adminConnections   = 64               // at once; further ones wait to be accepted
	adminHeaderBytes   = 16 << 10         // of a request
	adminReadTimeout   = 5 * time.Second  // for a whole request
	adminWriteTimeout  = 90 * time.Second // a CPU profile runs 30 s by default and may not outlast this
	adminIdleTimeout   = 60 * time.Second // between requests of one connection
	adminCloseTimeout  = 2 * time.Second  // that Close waits for requests under way
	adminScrapesAtOnce = 4                // of /metrics; further ones get 503
	adminStatusAtOnce  = 4                // of /status; further ones get 503
	adminStatusTimeout = 4 * time.Second  // for gathering it
)

// Admin is the operator's HTTP listener: /healthz, /readyz, /metrics, /status and, when switched on, /debug/pprof/.
type Admin struct {
	listener net.Listener // nil when there is none
	server   *http.Server
	closed   chan struct{}
	once     sync.Once
}

// NewAdmin listens on cfg.Listen; with an empty one it gives an Admin that listens nowhere. ready says why the node cannot
// serve, or nil when it can; it is called for each request, so it must not block. status gathers what /status tells until its
// context ends; nil: there is no /status.
func NewAdmin(cfg AdminConfig, reg *prometheus.Registry, ready func() error, status func(context.Context) Status) (*Admin, error) {
	a := &Admin{closed: make(chan struct{})}
	a.server = &http.Server{
		Handler:           adminHandler(cfg, reg, ready, status),
		ReadHeaderTimeout: adminReadTimeout,
		ReadTimeout:       adminReadTimeout,
		WriteTimeout:      adminWriteTimeout,
		IdleTimeout:       adminIdleTimeout,
		MaxHeaderBytes:    adminHeaderBytes,
	}
	if cfg.Listen == "" {
		return a, nil
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, listenError("admin.listen", "--admin", "TCP", cfg.Listen, err)
	}
	a.listener = &boundedListener{Listener: listener, slots: make(chan struct{}, adminConnections), closed: a.closed}
	return a, nil
}

// Addr is where it listens; nil when nowhere.
func (a *Admin) Addr() net.Addr {
	if a.listener == nil {
		return nil
	}
	return a.listener.Addr()
}

// Serve answers until Close, then returns nil; an error means that the listener failed.
func (a *Admin) Serve() error {
	if a.listener == nil {
		<-a.closed
		return nil
	}
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("admin listener %s: %w", a.Addr(), err)
	}
	return nil
}

// Close stops listening, waits two seconds at most for requests under way and cuts the rest off. Calling it again is harmless.
func (a *Admin) Close() error {
	a.once.Do(func() { close(a.closed) })
	if a.listener == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminCloseTimeout)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.server.Close()
	}
	if closing := a.listener.Close(); err == nil && !errors.Is(closing, net.ErrClosed) {
		err = closing
	}
	return err
}

func adminHandler(cfg AdminConfig, reg *prometheus.Registry, ready func() error, status func(context.Context) Status) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: adminScrapesAtOnce}))
	if status != nil {
		mux.HandleFunc("GET /status", statusHandler(status))
	}
	if cfg.PProf {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func statusHandler(status func(context.Context) Status) http.HandlerFunc {
	slots := make(chan struct{}, adminStatusAtOnce)
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			answer(w, http.StatusServiceUnavailable, "too many ask for the status at once")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminStatusTimeout)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(status(ctx)) // the other side is gone: nobody to tell
	}
}

func answer(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, sentence+"\n") // the other side is gone: nobody to tell
}

// listenError says in a sentence what to do about an address that cannot be listened on.
func listenError(key, flag, network, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s address %s is in use by another process; stop that one, or choose another address with %s or %s",
			key, network, address, flag, key)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: no permission to listen on %s %s; ports below 1024 need a privilege", key, network, address)
	default:
		return fmt.Errorf("%s: cannot listen on %s %s: %w", key, network, address, err)
	}
}

// boundedListener accepts a connection only while fewer than cap(slots) are open.
type boundedListener struct {
	net.Listener
	slots  chan struct{}
	closed <-chan struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slottedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

type slottedConn struct {
	net.Conn
	release func()
}

func (c *slottedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
