package transport

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/golang-jwt/jwt/v5"
)

// jwk is one entry of a JWK Set (RFC 7517) with the members of the key types that are served.
type jwk struct {
	KeyType   string `json:"kty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	K         string `json:"k"`
}

// JWTFromJWKS accepts the keys of a JWK Set file: OKP Ed25519 (EdDSA), EC P-256 (ES256), oct (HS256). Keys of other types
// and those that are not for signatures are passed over; a key that is served but malformed is an error. The token's kid
// selects the key. The file is read once.
func JWTFromJWKS(file string) (*JWT, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("JWKS: %w", err)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("JWKS %s: %w", file, err)
	}
	var keys []jwtKey
	for i, k := range set.Keys {
		key, served, err := k.decode()
		if err != nil {
			return nil, fmt.Errorf("JWKS %s: keys[%d] (kid %q): %w", file, i, k.ID, err)
		}
		for _, other := range keys {
			if served && other.id == key.id && other.alg == key.alg {
				return nil, fmt.Errorf("JWKS %s: keys[%d]: kid %q is there twice for %s", file, i, k.ID, key.alg)
			}
		}
		if served {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("JWKS %s: no key of Ed25519, P-256 or oct for signatures", file)
	}
	return newJWTAuth(keys...), nil
}

// decode reads the key and says whether its type is served.
func (k jwk) decode() (key jwtKey, served bool, err error) {
	switch {
	case k.Use != "" && k.Use != "sig":
		return jwtKey{}, false, nil
	case k.KeyType == "OKP" && k.Curve == "Ed25519":
		key, err = k.ed25519()
	case k.KeyType == "EC" && k.Curve == "P-256":
		key, err = k.p256()
	case k.KeyType == "oct" && (k.Algorithm == "" || k.Algorithm == jwt.SigningMethodHS256.Alg()):
		key, err = k.secret()
	default:
		return jwtKey{}, false, nil
	}
	if err == nil && k.Algorithm != "" && k.Algorithm != key.alg {
		err = fmt.Errorf("alg %q does not fit the key, which is for %s", k.Algorithm, key.alg)
	}
	key.id = k.ID
	return key, err == nil, err
}

func (k jwk) ed25519() (jwtKey, error) {
	x, err := base64.RawURLEncoding.DecodeString(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return jwtKey{}, errors.New("x is not 32 bytes of base64url")
	}
	return jwtKey{alg: jwt.SigningMethodEdDSA.Alg(), key: ed25519.PublicKey(x)}, nil
}

func (k jwk) p256() (jwtKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return jwtKey{}, errors.New("x and y are not 32 bytes of base64url each")
	}
	point := append(append([]byte{4}, x...), y...) // uncompressed, SEC 1 section 2.3.3
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return jwtKey{}, fmt.Errorf("x, y: %w", err)
	}
	return jwtKey{alg: jwt.SigningMethodES256.Alg(), key: key}, nil
}

func (k jwk) secret() (jwtKey, error) {
	secret, err := base64.RawURLEncoding.DecodeString(k.K)
	if err != nil || len(secret) < MinHS256Secret {
		return jwtKey{}, fmt.Errorf("k is not at least %d bytes of base64url", MinHS256Secret)
	}
	return jwtKey{alg: jwt.SigningMethodHS256.Alg(), key: secret}, nil
}
