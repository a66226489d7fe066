package link

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"time"
)

// Version is of the frames: what both sides must speak.
const Version = 1

const (
	purpose   = "carillon load test"
	nonceSize = 32 // bytes
)

// Party is one side.
type Party struct {
	Secret  string // shared; may be empty on loopback
	Program string // what both must have in common to mean the same
}

// hello is the first frame of each side; the worker's second one has only a proof, or the reason of a refusal.
type hello struct {
	Purpose string `json:"purpose,omitempty"`
	Version int    `json:"version,omitempty"`
	Program string `json:"program,omitempty"`
	Nonce   []byte `json:"nonce,omitempty"`
	Proof   []byte `json:"proof,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// ErrRefused is why the other side does not go on.
var ErrRefused = errors.New("refused")

// Accept greets whoever has connected. Unless he proves to be a coordinator with the same secret he is told why not, and the
// connection is closed.
func Accept(raw net.Conn, p Party) (*Conn, error) {
	c, err := p.accept(raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (p Party) accept(raw net.Conn) (*Conn, error) {
	mine, err := p.greet(raw, nil)
	if err != nil {
		return nil, err
	}
	var theirs hello
	err = read(raw, &theirs, maxHello, helloWithin, helloWithin)
	if err == nil {
		err = p.fits(theirs)
	}
	if err == nil && !hmac.Equal(theirs.Proof, p.proof("coordinator", mine, theirs.Nonce)) {
		err = errors.New("the secrets differ (-secret)")
	}
	if err != nil {
		_ = write(raw, hello{Refused: err.Error()}, maxHello, helloWithin) // he may not be one who reads it
		return nil, err
	}
	return &Conn{raw: raw}, write(raw, hello{Proof: p.proof("worker", mine, theirs.Nonce)}, maxHello, helloWithin)
}

// Dial connects to a worker.
func Dial(ctx context.Context, addr string, p Party) (*Conn, error) {
	dialer := net.Dialer{Timeout: helloWithin}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Now()) })
	defer stop()
	if err := p.introduce(raw); err != nil {
		raw.Close()
		return nil, err
	}
	return &Conn{raw: raw}, nil
}

func (p Party) introduce(raw net.Conn) error {
	var theirs, verdict hello
	if err := read(raw, &theirs, maxHello, helloWithin, helloWithin); err != nil {
		return err
	}
	if err := p.fits(theirs); err != nil {
		return err
	}
	mine, err := p.greet(raw, theirs.Nonce)
	if err != nil {
		return err
	}
	if err := read(raw, &verdict, maxHello, helloWithin, helloWithin); err != nil {
		return err
	}
	if verdict.Refused != "" {
		return fmt.Errorf("%w: %.200q", ErrRefused, verdict.Refused)
	}
	if !hmac.Equal(verdict.Proof, p.proof("worker", theirs.Nonce, mine)) {
		return errors.New("the worker does not know the secret (-secret)")
	}
	return nil
}

// greet sends the first frame; a coordinator's has a proof, as it knows the worker's nonce.
func (p Party) greet(raw net.Conn, theirs []byte) (nonce []byte, err error) {
	nonce = make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	h := hello{Purpose: purpose, Version: Version, Program: p.Program, Nonce: nonce}
	if theirs != nil {
		h.Proof = p.proof("coordinator", theirs, nonce)
	}
	return nonce, write(raw, h, maxHello, helloWithin)
}

func (p Party) fits(h hello) error {
	switch {
	case h.Refused != "":
		return fmt.Errorf("%w: %.200q", ErrRefused, h.Refused)
	case h.Purpose != purpose || len(h.Nonce) != nonceSize:
		return errFrame
	case h.Version != Version:
		return fmt.Errorf("version %d of the frames, here it is %d: build all from one source", h.Version, Version)
	case h.Program != p.Program:
		return fmt.Errorf("another build, %.20q, here it is %q: build all from one source", h.Program, p.Program)
	}
	return nil
}

// proof shows that a side knows the secret, for these nonces only.
func (p Party) proof(side string, worker, coordinator []byte) []byte {
	m := hmac.New(sha256.New, []byte(p.Secret))
	m.Write([]byte(purpose + "\x00" + side + "\x00"))
	m.Write(worker)
	m.Write(coordinator)
	return m.Sum(nil)
}
