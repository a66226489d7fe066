package actors

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strconv"

	"carillon/actors/call"
	"carillon/actors/session"
)

// maxAttempts is how many further IDs an invitation tries when other calls have its first ones.
const maxAttempts = 8

// callID is the ID that an invitation makes its call under: the same for every retry, in the caller's shard, and not to be
// guessed (ARCHITECTURE, IDs and placement). Attempt counts the IDs that other calls turned out to have.
func (c *Config) callID(caller call.UserID, intent call.CommandID, attempt int) call.ID {
	mac := c.mac()
	var room [2 * sha256.Size]byte
	b := append(room[:0], caller...)
	b = append(b, 0) // no user ID has a zero byte
	b = append(b, intent[:]...)
	mac.Write(append(b, byte(attempt)))
	id := call.NewID(caller.Shard(), binary.BigEndian.Uint64(mac.Sum(room[:0])))
	if c.macs != nil {
		c.macs.Put(mac)
	}
	if id == 0 {
		return c.callID(caller, intent, attempt+1)
	}
	return id
}

// mac is an HMAC under the secret that has read nothing.
func (c *Config) mac() hash.Hash {
	if c.macs == nil {
		return hmac.New(sha256.New, c.Secret)
	}
	mac := c.macs.Get().(hash.Hash)
	mac.Reset()
	return mac
}

// sessionID names a login in logs and answers.
func sessionID(c session.Conn) string {
	return c.Node + "-" + strconv.FormatUint(c.ID, 36)
}
