package transport

import "time"

// Authenticator decides whether a token proves a user. Verify may be called from many goroutines at once and blocks only
// for the time of a signature check.
type Authenticator interface {
	// Verify gives the instant at which the token expires; zero means never. A refusal is an *AuthError; any other error
	// reads 6000103 to the client.
	Verify(userID, token string, now time.Time) (expires time.Time, err error)
}

// AuthError is a refusal that the client is told: a code of SPEC.md section 4 and a sentence for people, valid UTF-8.
type AuthError struct {
	Code    uint32
	Message string
}

func (e *AuthError) Error() string { return e.Message }

// NoAuth accepts everybody, for ever. It is for development (SPEC.md section 5).
type NoAuth struct{}

// Verify accepts.
func (NoAuth) Verify(string, string, time.Time) (time.Time, error) { return time.Time{}, nil }

func tokenInvalid(why string) error { return &AuthError{codeTokenInvalid, "token: " + why} }

func tokenExpired() error { return &AuthError{codeTokenExpired, "token: expired"} }
