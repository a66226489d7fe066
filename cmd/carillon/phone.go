package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"carillon/transport/client"
)

// Limits of a phone.
const (
	phoneLines     = 256                    // typed ahead while a command is under way; a script waits
	phoneLineBytes = 64 << 10               // of one line
	phoneEvents    = 256                    // between the SDK and the screen
	phoneTick      = 500 * time.Millisecond // of the banner
	dialPatience   = 10 * time.Second       // for the first login
	logoutPatience = 2 * time.Second
)

// phoneOptions are the flags of phone.
type phoneOptions struct {
	user, device, token, ca string
	addresses               []string
	insecure, insecureSet   bool
}

func phoneCommand() *cobra.Command {
	var o phoneOptions
	command := &cobra.Command{
		Use:   "phone --user alice",
		Short: "A phone in the terminal: invite, accept, reject, cancel, join, quit, end",
		Long: "A phone in the terminal. It rings, shows who is in the call, and takes commands line by line; help lists them.\n" +
			"When the input is not a terminal it is a script: one command per line, the end of the input logs out, and the exit\n" +
			"code is 1 if a command failed.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			quietUDP()
			o.insecureSet = command.Flags().Changed("insecure")
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			screen, input := newScreen(o.user)
			defer screen.close()
			return runPhone(ctx, o, screen, input)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.user, "user", "", "your user ID")
	flags.StringVar(&o.device, "device", "terminal", "this device's ID; a second phone of the same user needs another one")
	flags.StringVar(&o.token, "token", "", "login token, where the server asks for one; `carillon token` makes one")
	flags.StringSliceVar(&o.addresses, "addr", []string{"127.0.0.1:7443"}, "host:port of a server; repeated, or several with commas between: the nodes of a cluster, tried in turn")
	flags.StringVar(&o.ca, "ca", "", "PEM file with the certificate to trust")
	flags.BoolVar(&o.insecure, "insecure", false, "trust any certificate (default true for a loopback address)")
	if err := command.MarkFlagRequired("user"); err != nil {
		panic(err) // the flag above is gone
	}
	return command
}

// quietUDP keeps quic-go from warning about the size of socket buffers: a phone gets by with small ones, and the warning
// would go across the screen. A value that is set already stays.
func quietUDP() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if os.Getenv(name) == "" {
		_ = os.Setenv(name, "true") // the name is good, so it cannot fail
	}
}

// config is what the SDK needs to know.
func (o *phoneOptions) config() (client.Config, error) {
	cfg := client.Config{UserID: o.user, DeviceID: o.device, Token: o.token, Migrate: true}
	local := true
	for _, a := range o.addresses {
		a = strings.TrimSpace(a)
		cfg.Addresses = append(cfg.Addresses, a)
		local = local && loopback(a)
	}
	switch {
	case o.ca != "":
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return cfg, fmt.Errorf("flag --ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return cfg, fmt.Errorf("flag --ca: %s holds no certificate in PEM", o.ca)
		}
		cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	case local && (o.insecure || !o.insecureSet):
		cfg.Insecure = true
	case o.insecure:
		cfg.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // asked for by name
	}
	return cfg, nil
}

// phone is one terminal phone: a device of a user, a screen, and the calls it has seen.
type phone struct {
	client *client.Client
	user   string
	device string
	screen *screen
	book   book
	script bool   // the input is no terminal
	failed int    // commands that failed
	node   string // where it is logged in; empty before the first login

	rings, answers tally // for the command wait
}

// runPhone logs in and plays phone until the input ends, ctx is done or the server ends the login.
func runPhone(ctx context.Context, o phoneOptions, screen *screen, input io.Reader) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	screen.line(dim, "calling %s ...", strings.Join(cfg.Addresses, ", "))
	dialing, cancel := context.WithTimeout(ctx, dialPatience)
	c, err := client.Dial(dialing, cfg)
	cancel()
	if err != nil {
		return explainDial(err, cfg.Addresses)
	}
	p := &phone{client: c, user: o.user, device: o.device, screen: screen, script: !screen.interactive()}
	if !p.script {
		screen.line(plain, "You are %s on device %s. Type invite bob to ring bob, help for more.", o.user, o.device)
	}
	for _, call := range c.Calls() {
		if !p.ringing(call) {
			p.screen.line(bold, "%v is still going on  %s", p.book.note(call), strings.TrimSpace(p.roster(call)))
		}
	}
	err = p.run(ctx, input)
	if err == nil && p.script && p.failed > 0 {
		err = fmt.Errorf("commands that failed: %d", p.failed)
	}
	return err
}

func explainDial(err error, addresses []string) error {
	switch {
	case errors.Is(err, client.TokenInvalid), errors.Is(err, client.TokenExpired):
		return fmt.Errorf("the server does not accept the login: %w (carillon token --user ... makes a token, --token takes it)", err)
	case errors.Is(err, client.ConnectionLost), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from a Carillon at %v: is one running there? carillon serve starts one (%w)", addresses, err)
	default:
		return err
	}
}

// run is the phone's loop. One command is under way at a time; what the server tells is shown meanwhile.
func (p *phone) run(ctx context.Context, input io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := p.events(ctx)
	lines := p.lines(ctx, cancel, input)
	tick := time.NewTicker(phoneTick)
	defer tick.Stop()
	var done chan error // of the command under way
	for {
		ready := lines
		if done != nil {
			ready = nil
		}
		select {
		case e, open := <-events:
			if !open {
				return p.gone()
			}
			p.show(e)
		case line, open := <-ready:
			if !open {
				return p.leave(events)
			}
			done = make(chan error, 1)
			go func() { done <- p.perform(ctx, line) }()
		case err := <-done:
			done = nil
			p.catchUp(events)
			if errors.Is(err, errLeave) {
				return p.leave(events)
			}
			p.complain(err)
		case <-tick.C:
			p.banner()
		case <-ctx.Done():
			if done != nil {
				p.complain(<-done) // it ends with ctx
			}
			return p.leave(events)
		}
	}
}

// catchUp shows what has come before the outcome of a command.
func (p *phone) catchUp(events <-chan client.Event) {
	for {
		select {
		case e, open := <-events:
			if !open {
				return
			}
			p.show(e)
		default:
			return
		}
	}
}

// events hands on what the SDK tells. The channel is closed when the client has ended.
func (p *phone) events(ctx context.Context) <-chan client.Event {
	events := make(chan client.Event, phoneEvents)
	go func() {
		defer close(events)
		for e := range p.client.Events() {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events
}

// lines reads the input. At its end a script's channel is closed, once all was taken; a person leaves at once. The
// goroutine ends with its input: nothing can interrupt the reading of a terminal.
func (p *phone) lines(ctx context.Context, cancel func(), input io.Reader) <-chan string {
	lines := make(chan string, phoneLines)
	next := p.screen.reader
	if p.script {
		scanner := bufio.NewScanner(input)
		scanner.Buffer(nil, phoneLineBytes)
		next = func() (string, error) {
			if !scanner.Scan() {
				return "", errors.Join(io.EOF, scanner.Err())
			}
			return scanner.Text(), nil
		}
	}
	go func() {
		defer close(lines)
		for {
			line, err := next()
			if err != nil {
				if !p.script {
					cancel()
				}
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// leave logs out and shows what still comes.
func (p *phone) leave(events <-chan client.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), logoutPatience)
	defer cancel()
	err := p.client.Logout(ctx)
	for e := range events {
		p.show(e)
	}
	if err != nil {
		p.screen.line(dim, "could not log out (%v); the server will notice by itself", err)
		return nil
	}
	p.screen.line(dim, "logged out")
	return nil
}

// gone says why the client ended by itself.
func (p *phone) gone() error {
	err := p.client.Err()
	_ = p.client.Close()
	if errors.Is(err, client.ErrKickedOut) {
		return fmt.Errorf("%w; a second phone of %s needs its own --device", err, p.user)
	}
	return err
}

func (p *phone) complain(err error) {
	var refused *client.Error
	switch {
	case err == nil:
		return
	case errors.As(err, &refused):
		p.screen.line(red, "refused: %v", refused)
	default:
		p.screen.line(red, "%v", err)
	}
	p.failed++
}
