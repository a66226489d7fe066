package actors

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"carillon/actors/call"
	"carillon/actors/session"
)

// maxAttempts is how many further IDs an invitation tries when other calls have its first ones.
const maxAttempts = 8

// callID is the ID that an invitation makes its call under: the same for every retry, in the caller's shard, and not to be
// guessed (ARCHITECTURE, IDs and placement). Attempt counts the IDs that other calls turned out to have.
func (c *Config) callID(caller call.UserID, intent call.CommandID, attempt int) call.ID {
	mac := hmac.New(sha256.New, c.Secret)
	mac.Write([]byte(caller))
	mac.Write([]byte{0}) // no user ID has a zero byte
	mac.Write(intent[:])
	mac.Write([]byte{byte(attempt)})
	id := call.NewID(caller.Shard(), binary.BigEndian.Uint64(mac.Sum(nil)))
	if id == 0 {
		return c.callID(caller, intent, attempt+1)
	}
	return id
}

// sessionID names a login in logs and answers.
func sessionID(c session.Conn) string {
	return c.Node + "-" + strconv.FormatUint(c.ID, 36)
}
