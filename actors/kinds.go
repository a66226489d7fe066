package actors

// The kinds of messages between nodes: which message of transport/wire/node.proto a body is. Append only, for ever: a node
// drops and counts the kinds that it does not know, so that neighbouring versions can work together.
const (
	kindCommand  uint8 = 1
	kindTold     uint8 = 2
	kindPresence uint8 = 3
	kindAsk      uint8 = 4

	kindAttach   uint8 = 16
	kindList     uint8 = 17
	kindSeen     uint8 = 18
	kindBroken   uint8 = 19
	kindLogout   uint8 = 20
	kindTell     uint8 = 21
	kindWatch    uint8 = 22
	kindHeard    uint8 = 23
	kindSynced   uint8 = 24
	kindHandover uint8 = urgent | 25

	kindOutput uint8 = 40
	kindRecall uint8 = 41
	kindAudit  uint8 = 42
)

// Patient tells whether nobody waits for messages of a kind.
func Patient(kind uint8) bool { return kind == kindTold }

// urgent marks what goes in front of everything else that waits for a shard (cluster.Urgent).
const urgent uint8 = 1 << 7
