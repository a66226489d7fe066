package transport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The vector of the format's description.
const (
	vectorSecret = "fa94dd0f974cf2e293728a526b028271"
	vectorToken  = "04AAAAAGVT/xAAEDAxMjM0NTY3ODlhYmNkZWYAcPDOWcZeMCPxbh1dpHzCTRH0tbs1JDwaSloPPpfrCE29tUW/QA7cBUDbJW7EPsVPsGpO/KyXwgxISYw5q52prPMSDPSd273V+GccmQjr86yJzXgjAi1WOIdNYImOOK+KUyRl6LN2rT4pm+K4yG/IxH0="
)

func TestToken04Vector(t *testing.T) {
	random := append(binary.BigEndian.AppendUint32(nil, 123456789), "0123456789abcdef"...)
	token, err := NewToken04([]byte(vectorSecret), 1, "demo", time.Hour, authNow, bytes.NewReader(random))
	if err != nil || token != vectorToken {
		t.Errorf("made %s, %v", token, err)
	}
	auth := must(Token04FromSecret([]byte(vectorSecret), 1))
	expires, err := auth.Verify("demo", vectorToken, authNow)
	if err != nil || !expires.Equal(time.Unix(1_700_003_600, 0)) {
		t.Errorf("expires %v, %v", expires, err)
	}
	_, err = auth.Verify("demo", vectorToken, time.Unix(1_700_003_600, 0))
	wantCode(t, err, codeTokenExpired)
}

// seal makes a token of any plain text and outer expiry.
func seal(plain []byte, expire int64) string {
	block := must(aes.NewCipher([]byte(vectorSecret)))
	iv := []byte("0123456789abcdef")
	ct := bytes.Clone(plain)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(ct, ct)
	raw := binary.BigEndian.AppendUint64(nil, uint64(expire))
	raw = append(binary.BigEndian.AppendUint16(raw, 16), iv...)
	raw = append(binary.BigEndian.AppendUint16(raw, uint16(len(ct))), ct...)
	return "04" + base64.StdEncoding.EncodeToString(raw)
}

func pad(s string) []byte {
	n := 16 - len(s)%16
	return append([]byte(s), bytes.Repeat([]byte{byte(n)}, n)...)
}

// TestToken04Refusals says that whatever is wrong reads the same, an expired token too if anything else is wrong.
func TestToken04Refusals(t *testing.T) {
	const good = `{"app_id":1,"user_id":"demo","ctime":1,"expire":1700000060,"nonce":1,"payload":""}`
	const expire = 1700000060
	auth := must(Token04FromSecret([]byte(vectorSecret), 1))
	if _, err := auth.Verify("demo", seal(pad(good), expire), authNow); err != nil {
		t.Fatal(err)
	}
	raw := must(base64.StdEncoding.DecodeString(seal(pad(good), expire)[2:]))
	reencode := func(change func([]byte) []byte) string {
		return "04" + base64.StdEncoding.EncodeToString(change(bytes.Clone(raw)))
	}
	longPad := append([]byte(good), bytes.Repeat([]byte{17}, 32-len(good)%16)...)
	zeroPad := append([]byte(good), make([]byte, 16-len(good)%16)...)
	unevenPad := pad(good)
	unevenPad[len(unevenPad)-2] ^= 1
	for name, token := range map[string]string{
		"nothing":            "",
		"version only":       "04",
		"other version":      "03" + seal(pad(good), expire)[2:],
		"not base64":         "04!!!!",
		"too long":           "04" + strings.Repeat("A", maxToken),
		"cut off":            reencode(func(b []byte) []byte { return b[:20] }),
		"cut by a block":     reencode(func(b []byte) []byte { return b[:len(b)-16] }),
		"a byte too many":    reencode(func(b []byte) []byte { return append(b, 0) }),
		"long iv":            reencode(func(b []byte) []byte { b[9] = 17; return b }),
		"no cipher text":     reencode(func(b []byte) []byte { b = b[:28]; b[26], b[27] = 0, 0; return b }),
		"half a block":       reencode(func(b []byte) []byte { b = b[:28+8]; b[26], b[27] = 0, 8; return b }),
		"padding too long":   seal(longPad, expire),
		"padding zero":       seal(zeroPad, expire),
		"padding uneven":     seal(unevenPad, expire),
		"not JSON":           seal(pad("hello"), expire),
		"JSON of wrong type": seal(pad(strings.Replace(good, `"demo"`, `7`, 1)), expire),
		"more after JSON":    seal(pad(good+"{}"), expire),
		"outer expiry later": seal(pad(good), expire+1),
		"other app":          seal(pad(strings.Replace(good, `"app_id":1`, `"app_id":2`, 1)), expire),
		"other user":         seal(pad(strings.Replace(good, "demo", "dem0", 1)), expire),
		"no user":            seal(pad(strings.Replace(good, "demo", "", 1)), expire),
		"wrong secret":       must(NewToken04([]byte(strings.Repeat("x", 32)), 1, "demo", time.Hour, authNow, rand.Reader)),
	} {
		for when, now := range map[string]time.Time{"valid": authNow, "expired": authNow.Add(time.Hour)} {
			_, err := auth.Verify("demo", token, now)
			var refusal *AuthError
			if !errors.As(err, &refusal) || *refusal != (AuthError{codeTokenInvalid, "token: invalid"}) {
				t.Errorf("%s, %s: %v, want the one refusal", name, when, err)
			}
		}
	}
	_, err := auth.Verify("", seal(pad(strings.Replace(good, "demo", "", 1)), expire), authNow)
	wantCode(t, err, codeTokenInvalid)
}

func TestToken04RoundTrip(t *testing.T) {
	auth := must(Token04FromSecret([]byte(vectorSecret), 7))
	rapid.Check(t, func(t *rapid.T) {
		user := rapid.StringMatching("[a-zA-Z0-9!#$%&()+:;<=.>?@\\[\\]^_ {}|~-]{1,32}").Draw(t, "user")
		ttl := time.Duration(rapid.IntRange(1, 1<<30).Draw(t, "ttl")) * time.Second
		token, err := NewToken04([]byte(vectorSecret), 7, user, ttl, authNow, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if expires, err := auth.Verify(user, token, authNow); err != nil || !expires.Equal(authNow.Add(ttl)) {
			t.Fatalf("expires %v, %v", expires, err)
		}
		if _, err := auth.Verify(user+"x", token, authNow); err == nil {
			t.Fatal("accepted for another user")
		}
	})
}

func TestToken04Secret(t *testing.T) {
	for _, secret := range []string{"", vectorSecret[1:], vectorSecret + "0"} {
		if _, err := Token04FromSecret([]byte(secret), 1); err == nil || !strings.Contains(err.Error(), "exactly 32") {
			t.Errorf("secret of %d bytes: %v", len(secret), err)
		}
		if _, err := NewToken04([]byte(secret), 1, "demo", time.Hour, authNow, rand.Reader); err == nil {
			t.Errorf("secret of %d bytes: a token was made", len(secret))
		}
	}
	if _, err := NewToken04([]byte(vectorSecret), 1, "demo", time.Hour, authNow, strings.NewReader("short")); err == nil {
		t.Error("a token was made without randomness")
	}
	if _, err := NewToken04([]byte(vectorSecret), 1, strings.Repeat("u", 1<<16), time.Hour, authNow, rand.Reader); err == nil {
		t.Error("a token was made that does not fit its own length field")
	}
}

func FuzzToken04(f *testing.F) {
	f.Add(vectorToken, "demo")
	f.Add("04", "")
	f.Add("04AAAAAGVT/xAAEA", "demo")
	auth := must(Token04FromSecret([]byte(vectorSecret), 1))
	f.Fuzz(func(t *testing.T, token, user string) {
		_, err := auth.Verify(user, token, authNow)
		var refusal *AuthError
		switch {
		case err == nil && user != "demo":
			t.Errorf("accepted %q for %q", token, user)
		case err != nil && (!errors.As(err, &refusal) || refusal.Message != "token: invalid"):
			t.Errorf("refused with %v", err)
		}
	})
}
