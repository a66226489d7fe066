package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MinHS256Secret is the least length of an HS256 secret in bytes (RFC 7518 section 3.2).
const MinHS256Secret = 32

// maxToken is the longest token that is looked at, in bytes.
const maxToken = 8 << 10

// JWT accepts JSON Web Tokens (RFC 7519) whose sub is the user ID and which have an exp; nbf is honoured, other claims
// are ignored. Each key serves exactly one algorithm, so a token cannot choose how it is checked.
type JWT struct {
	// Leeway is added to exp and subtracted from nbf, for clocks that differ. 0 or more.
	Leeway time.Duration

	keys   []jwtKey
	parser *jwt.Parser
}

// jwtKey checks signatures of one algorithm.
type jwtKey struct {
	id  string // kid; empty if the key has none
	alg string // HS256, EdDSA or ES256
	key any    // []byte, ed25519.PublicKey or *ecdsa.PublicKey
}

func newJWTAuth(keys ...jwtKey) *JWT {
	var algs []string
	for _, k := range keys {
		algs = append(algs, k.alg)
	}
	return &JWT{keys: keys, parser: jwt.NewParser(jwt.WithValidMethods(algs), jwt.WithoutClaimsValidation())}
}

// JWTFromSecret accepts HS256 with a secret of at least MinHS256Secret bytes.
func JWTFromSecret(secret []byte) (*JWT, error) {
	if len(secret) < MinHS256Secret {
		return nil, fmt.Errorf("HS256 secret has %d bytes, at least %d are needed", len(secret), MinHS256Secret)
	}
	return newJWTAuth(jwtKey{alg: jwt.SigningMethodHS256.Alg(), key: secret}), nil
}

// JWTFromPublicKey accepts EdDSA or ES256, whichever the key in the PEM file is for (Ed25519 or P-256, PKIX).
func JWTFromPublicKey(file string) (*JWT, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("JWT public key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("JWT public key %s: no PEM block PUBLIC KEY", file)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("JWT public key %s: %w", file, err)
	}
	k, err := publicJWTKey(key)
	if err != nil {
		return nil, fmt.Errorf("JWT public key %s: %w", file, err)
	}
	return newJWTAuth(k), nil
}

func publicJWTKey(key crypto.PublicKey) (jwtKey, error) {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return jwtKey{alg: jwt.SigningMethodEdDSA.Alg(), key: key}, nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return jwtKey{alg: jwt.SigningMethodES256.Alg(), key: key}, nil
		}
	}
	return jwtKey{}, fmt.Errorf("%T: only Ed25519 (EdDSA) and P-256 (ES256) keys are served", key)
}

var errNoKey = errors.New("no key for this token")

// pick chooses the key: by kid and algorithm, or by algorithm alone if the token has no kid and only one key fits.
func (j *JWT) pick(t *jwt.Token) (any, error) {
	kid, named := t.Header["kid"].(string)
	var found any
	for _, k := range j.keys {
		switch {
		case k.alg != t.Method.Alg(), named && k.id != "" && k.id != kid:
			continue
		case named && k.id == kid:
			return k.key, nil
		case found != nil:
			return nil, errNoKey
		}
		found = k.key
	}
	if found == nil {
		return nil, errNoKey
	}
	return found, nil
}

// Verify is Authenticator's.
func (j *JWT) Verify(userID, token string, now time.Time) (time.Time, error) {
	if len(token) > maxToken {
		return time.Time{}, tokenInvalid("too long")
	}
	var claims jwt.RegisteredClaims
	if _, err := j.parser.ParseWithClaims(token, &claims, j.pick); err != nil {
		return time.Time{}, tokenInvalid("not a JWT that a configured key has signed")
	}
	switch {
	case claims.Subject == "":
		return time.Time{}, tokenInvalid("sub is missing")
	case claims.Subject != userID:
		return time.Time{}, tokenInvalid("sub is another user")
	case claims.ExpiresAt == nil:
		return time.Time{}, tokenInvalid("exp is missing")
	case claims.NotBefore != nil && now.Add(j.Leeway).Before(claims.NotBefore.Time):
		return time.Time{}, tokenInvalid("not valid yet (nbf)")
	}
	expires := claims.ExpiresAt.Add(j.Leeway)
	if !now.Before(expires) {
		return time.Time{}, tokenExpired()
	}
	return expires, nil
}

// NewJWT makes a development token for userID: HS256, valid for ttl from now (whole seconds).
func NewJWT(secret []byte, userID string, ttl time.Duration, now time.Time) (string, error) {
	if len(secret) < MinHS256Secret {
		return "", fmt.Errorf("HS256 secret has %d bytes, at least %d are needed", len(secret), MinHS256Secret)
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   userID,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}).SignedString(secret)
}
