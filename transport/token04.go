package transport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Token04 accepts the tokens of ZIM's token servers, version 04:
//
//	"04" + base64( int64 expire | uint16 len(iv)=16 | iv | uint16 len(ct) | ct )    all big-endian
//
// ct is AES-256-CBC with PKCS#7 padding under the 32-byte server secret, of token04Body as JSON. The format has no MAC.
// So that a forger learns nothing from refusals, whatever fails reads the same; only a token that is right in everything
// else is told that it has expired.
type Token04 struct {
	block cipher.Block
	appID uint32
}

const (
	token04Version = "04"
	token04Secret  = 32 // bytes
)

// token04Body is the plain text, in the order in which ZIM's servers write it.
type token04Body struct {
	AppID   uint32 `json:"app_id"`
	UserID  string `json:"user_id"`
	Created int64  `json:"ctime"`  // Unix seconds
	Expire  int64  `json:"expire"` // Unix seconds
	Nonce   int32  `json:"nonce"`
	Payload string `json:"payload"`
}

// Token04FromSecret accepts the tokens made with this server secret, of 32 bytes, for this app.
func Token04FromSecret(secret []byte, appID uint32) (*Token04, error) {
	block, err := token04Cipher(secret)
	if err != nil {
		return nil, err
	}
	return &Token04{block: block, appID: appID}, nil
}

func token04Cipher(secret []byte) (cipher.Block, error) {
	if len(secret) != token04Secret {
		return nil, fmt.Errorf("token04 secret has %d bytes, exactly %d are needed", len(secret), token04Secret)
	}
	return aes.NewCipher(secret)
}

// Verify is Authenticator's.
func (a *Token04) Verify(userID, token string, now time.Time) (time.Time, error) {
	body, ok := a.decode(token)
	if !ok || body.AppID != a.appID || body.UserID != userID || userID == "" {
		return time.Time{}, tokenInvalid("invalid")
	}
	expires := time.Unix(body.Expire, 0)
	if !now.Before(expires) {
		return time.Time{}, tokenExpired()
	}
	return expires, nil
}

// decode does the same work whether the padding is right or not.
func (a *Token04) decode(token string) (body token04Body, ok bool) {
	encoded, ok := strings.CutPrefix(token, token04Version)
	if !ok || len(token) > maxToken {
		return body, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) < 8+2+aes.BlockSize+2 {
		return body, false
	}
	expire := int64(binary.BigEndian.Uint64(raw))
	iv, rest := raw[10:10+aes.BlockSize], raw[10+aes.BlockSize:]
	ct := rest[2:]
	if binary.BigEndian.Uint16(raw[8:]) != aes.BlockSize || int(binary.BigEndian.Uint16(rest)) != len(ct) ||
		len(ct) == 0 || len(ct)%aes.BlockSize != 0 {
		return body, false
	}
	cipher.NewCBCDecrypter(a.block, iv).CryptBlocks(ct, ct)
	size, padded := unpad(ct)
	parsed := json.Unmarshal(ct[:size], &body) == nil
	return body, padded && parsed && body.Expire == expire
}

// unpad gives the length of b without its PKCS#7 padding, in constant time; all of b if the padding is wrong.
func unpad(b []byte) (size int, ok bool) {
	n := int(b[len(b)-1])
	good := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, aes.BlockSize)
	last := b[len(b)-aes.BlockSize:]
	for i, v := range last {
		inside := subtle.ConstantTimeLessOrEq(aes.BlockSize-n, i)
		good &= subtle.ConstantTimeSelect(inside, subtle.ConstantTimeByteEq(v, byte(n)), 1)
	}
	return subtle.ConstantTimeSelect(good, len(b)-n, len(b)), good == 1
}

// NewToken04 makes a development token for userID, valid for ttl from now (whole seconds). It reads the nonce (4 bytes)
// and the IV (16 bytes) from rand.
func NewToken04(secret []byte, appID uint32, userID string, ttl time.Duration, now time.Time, rand io.Reader) (string, error) {
	block, err := token04Cipher(secret)
	if err != nil {
		return "", err
	}
	var random [4 + aes.BlockSize]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return "", fmt.Errorf("token04: random bytes: %w", err)
	}
	expire := now.Add(ttl).Unix()
	plain, err := json.Marshal(token04Body{
		AppID: appID, UserID: userID, Created: now.Unix(), Expire: expire,
		Nonce: int32(binary.BigEndian.Uint32(random[:4])),
	})
	if err != nil {
		return "", fmt.Errorf("token04: %w", err)
	}
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	ct := slices.Concat(plain, bytes.Repeat([]byte{byte(padding)}, padding))
	if len(ct) > math.MaxUint16 {
		return "", fmt.Errorf("token04: user ID of %d bytes does not fit", len(userID))
	}
	iv := random[4:]
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(ct, ct)
	raw := binary.BigEndian.AppendUint64(nil, uint64(expire))
	raw = binary.BigEndian.AppendUint16(raw, aes.BlockSize)
	raw = append(raw, iv...)
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(ct)))
	return token04Version + base64.StdEncoding.EncodeToString(append(raw, ct...)), nil
}
