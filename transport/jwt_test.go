package transport

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var (
	authNow   = time.Unix(1_700_000_000, 0)
	jwtSecret = bytes.Repeat([]byte("k"), MinHS256Secret)
)

// wantCode is the code of err, 0 for none.
func wantCode(t *testing.T, err error, code uint32) {
	t.Helper()
	var refusal *AuthError
	if errors.As(err, &refusal); (code == 0) != (err == nil) || (code != 0 && (refusal == nil || refusal.Code != code)) {
		t.Errorf("error %v, want code %d", err, code)
	}
}

func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestJWTClaims(t *testing.T) {
	auth := must(JWTFromSecret(jwtSecret))
	now := authNow.Unix()
	for name, tt := range map[string]struct {
		claims jwt.MapClaims
		code   uint32
	}{
		"good":              {jwt.MapClaims{"sub": "alice", "exp": now + 60}, 0},
		"other claims":      {jwt.MapClaims{"sub": "alice", "exp": now + 60, "aud": "x", "admin": true, "nbf": now}, 0},
		"no sub":            {jwt.MapClaims{"exp": now + 60}, codeTokenInvalid},
		"other sub":         {jwt.MapClaims{"sub": "bob", "exp": now + 60}, codeTokenInvalid},
		"sub of other case": {jwt.MapClaims{"sub": "Alice", "exp": now + 60}, codeTokenInvalid},
		"sub is a number":   {jwt.MapClaims{"sub": 7, "exp": now + 60}, codeTokenInvalid},
		"no exp":            {jwt.MapClaims{"sub": "alice"}, codeTokenInvalid},
		"exp is a string":   {jwt.MapClaims{"sub": "alice", "exp": "tomorrow"}, codeTokenInvalid},
		"expired":           {jwt.MapClaims{"sub": "alice", "exp": now - 1}, codeTokenExpired},
		"expires now":       {jwt.MapClaims{"sub": "alice", "exp": now}, codeTokenExpired},
		"expired of other":  {jwt.MapClaims{"sub": "bob", "exp": now - 1}, codeTokenInvalid},
		"not yet":           {jwt.MapClaims{"sub": "alice", "exp": now + 60, "nbf": now + 1}, codeTokenInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			expires, err := auth.Verify("alice", sign(t, jwt.SigningMethodHS256, jwtSecret, "", tt.claims), authNow)
			wantCode(t, err, tt.code)
			if tt.code == 0 && !expires.Equal(authNow.Add(time.Minute)) {
				t.Errorf("expires %v", expires)
			}
		})
	}
}

func TestJWTLeeway(t *testing.T) {
	auth := must(JWTFromSecret(jwtSecret))
	auth.Leeway = 10 * time.Second
	now := authNow.Unix()
	late := sign(t, jwt.SigningMethodHS256, jwtSecret, "", jwt.MapClaims{"sub": "alice", "exp": now - 9, "nbf": now + 9})
	expires, err := auth.Verify("alice", late, authNow)
	wantCode(t, err, 0)
	if !expires.Equal(authNow.Add(time.Second)) {
		t.Errorf("expires %v", expires)
	}
}

// TestJWTEveryBitCounts says that no token with a bit changed is accepted.
func TestJWTEveryBitCounts(t *testing.T) {
	auth := must(JWTFromSecret(jwtSecret))
	token := must(NewJWT(jwtSecret, "alice", time.Minute, authNow))
	if _, err := auth.Verify("alice", token, authNow); err != nil {
		t.Fatal(err)
	}
	for i := range len(token) - 1 { // the last character has bits that no byte takes
		b := []byte(token)
		b[i] ^= 1
		_, err := auth.Verify("alice", string(b), authNow)
		wantCode(t, err, codeTokenInvalid)
	}
	for _, bad := range []string{"", ".", "..", "a.b.c", token + ".x", strings.Repeat("x", maxToken+1)} {
		_, err := auth.Verify("alice", bad, authNow)
		wantCode(t, err, codeTokenInvalid)
	}
}

func writePublicKey(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))})
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestJWTAlgorithms says that a key checks its own algorithm only, whatever a token's header asks for.
func TestJWTAlgorithms(t *testing.T) {
	edPublic, edPrivate, _ := ed25519.GenerateKey(rand.Reader)
	ecPrivate := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rsaPrivate := must(rsa.GenerateKey(rand.Reader, 2048))
	edFile, ecFile := writePublicKey(t, edPublic), writePublicKey(t, &ecPrivate.PublicKey)
	claims := jwt.MapClaims{"sub": "alice", "exp": authNow.Unix() + 60}
	tokens := map[string]string{
		"HS256": sign(t, jwt.SigningMethodHS256, jwtSecret, "", claims),
		"HS384": sign(t, jwt.SigningMethodHS384, jwtSecret, "", claims),
		"EdDSA": sign(t, jwt.SigningMethodEdDSA, edPrivate, "", claims),
		"ES256": sign(t, jwt.SigningMethodES256, ecPrivate, "", claims),
		"RS256": sign(t, jwt.SigningMethodRS256, rsaPrivate, "", claims),
		"none":  sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", claims),
		// The classical confusion: the public key used as an HMAC secret.
		"HS256 with the EdDSA key file": sign(t, jwt.SigningMethodHS256, must(os.ReadFile(edFile)), "", claims),
		"HS256 with the EdDSA key":      sign(t, jwt.SigningMethodHS256, []byte(edPublic), "", claims),
		"HS256 with the ES256 key file": sign(t, jwt.SigningMethodHS256, must(os.ReadFile(ecFile)), "", claims),
	}
	for served, auth := range map[string]*JWT{
		"HS256": must(JWTFromSecret(jwtSecret)), "EdDSA": must(JWTFromPublicKey(edFile)), "ES256": must(JWTFromPublicKey(ecFile)),
	} {
		for name, token := range tokens {
			t.Run(served+" key, "+name+" token", func(t *testing.T) {
				_, err := auth.Verify("alice", token, authNow)
				if name == served {
					wantCode(t, err, 0)
				} else {
					wantCode(t, err, codeTokenInvalid)
				}
			})
		}
	}
}

func TestJWTKeyErrors(t *testing.T) {
	dir := t.TempDir()
	rsaFile := writePublicKey(t, &must(rsa.GenerateKey(rand.Reader, 2048)).PublicKey)
	p384File := writePublicKey(t, &must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey)
	noPEM, badDER := filepath.Join(dir, "no.pem"), filepath.Join(dir, "bad.pem")
	_ = os.WriteFile(noPEM, []byte("hello"), 0o600)
	_ = os.WriteFile(badDER, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("hello")}), 0o600)
	for _, file := range []string{rsaFile, p384File, noPEM, badDER, filepath.Join(dir, "missing.pem")} {
		if _, err := JWTFromPublicKey(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v, want one that names the file", file, err)
		}
	}
	if _, err := JWTFromSecret(jwtSecret[1:]); err == nil || !strings.Contains(err.Error(), "31 bytes") {
		t.Errorf("short secret: %v", err)
	}
	if _, err := NewJWT(jwtSecret[1:], "alice", time.Minute, authNow); err == nil {
		t.Error("a token was made with a short secret")
	}
}

func jwksFile(t *testing.T, keys ...map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, must(json.Marshal(map[string]any{"keys": keys})), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func ecJWK(kid string, key *ecdsa.PrivateKey) map[string]string {
	point := must(key.PublicKey.Bytes())
	return map[string]string{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:])}
}

func TestJWKS(t *testing.T) {
	edPublic, edPrivate, _ := ed25519.GenerateKey(rand.Reader)
	old, current := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	auth := must(JWTFromJWKS(jwksFile(t,
		ecJWK("old", old), ecJWK("new", current),
		map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(edPublic), "alg": "EdDSA", "use": "sig"},
		map[string]string{"kty": "oct", "kid": "hs", "k": b64(jwtSecret)},
		map[string]string{"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"},
		map[string]string{"kty": "EC", "crv": "P-384", "kid": "p384"},
		map[string]string{"kty": "EC", "crv": "P-256", "use": "enc", "kid": "enc"},
		map[string]string{"kty": "oct", "alg": "HS512", "kid": "hs512"},
	)))
	claims := jwt.MapClaims{"sub": "alice", "exp": authNow.Unix() + 60}
	for name, tt := range map[string]struct {
		token string
		code  uint32
	}{
		"old":                       {sign(t, jwt.SigningMethodES256, old, "old", claims), 0},
		"new":                       {sign(t, jwt.SigningMethodES256, current, "new", claims), 0},
		"wrong kid":                 {sign(t, jwt.SigningMethodES256, current, "old", claims), codeTokenInvalid},
		"unknown kid":               {sign(t, jwt.SigningMethodES256, current, "newer", claims), codeTokenInvalid},
		"no kid, two keys fit":      {sign(t, jwt.SigningMethodES256, current, "", claims), codeTokenInvalid},
		"no kid, one key fits":      {sign(t, jwt.SigningMethodEdDSA, edPrivate, "", claims), 0},
		"secret":                    {sign(t, jwt.SigningMethodHS256, jwtSecret, "hs", claims), 0},
		"kid of another algorithm":  {sign(t, jwt.SigningMethodHS256, jwtSecret, "ed", claims), codeTokenInvalid},
		"public key used as secret": {sign(t, jwt.SigningMethodHS256, []byte(edPublic), "ed", claims), codeTokenInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := auth.Verify("alice", tt.token, authNow)
			wantCode(t, err, tt.code)
		})
	}
}

func TestJWKSPrefersTheNamedKey(t *testing.T) {
	named, nameless := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	auth := must(JWTFromJWKS(jwksFile(t, ecJWK("", nameless), ecJWK("a", named))))
	claims := jwt.MapClaims{"sub": "alice", "exp": authNow.Unix() + 60}
	_, err := auth.Verify("alice", sign(t, jwt.SigningMethodES256, named, "a", claims), authNow)
	wantCode(t, err, 0)
	_, err = auth.Verify("alice", sign(t, jwt.SigningMethodES256, nameless, "other", claims), authNow)
	wantCode(t, err, 0)
}

func TestJWKSErrors(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	off := ecJWK("off", key)
	off["y"] = off["x"] // not on the curve
	short := ecJWK("short", key)
	short["x"] = "AAAA"
	wrongAlg := ecJWK("alg", key)
	wrongAlg["alg"] = "EdDSA"
	notJSON := filepath.Join(t.TempDir(), "jwks.json")
	_ = os.WriteFile(notJSON, []byte("keys"), 0o600)
	for want, file := range map[string]string{
		`kid "off"`:         jwksFile(t, off),
		`kid "short"`:       jwksFile(t, short),
		`alg "EdDSA"`:       jwksFile(t, wrongAlg),
		"there twice":       jwksFile(t, ecJWK("a", key), ecJWK("a", key)),
		"no key":            jwksFile(t),
		"at least 32 bytes": jwksFile(t, map[string]string{"kty": "oct", "k": "AAAA"}),
		"x is not 32 bytes": jwksFile(t, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
		"invalid character": notJSON,
		"no such file":      filepath.Join(t.TempDir(), "missing.json"),
	} {
		if _, err := JWTFromJWKS(file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("error %v, want one that says %q and names the file", err, want)
		}
	}
}
