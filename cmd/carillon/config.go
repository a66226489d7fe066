package main

import "time"

// Config is every setting of a node. config.yaml at the root of the repository says what each one means, with its unit,
// range and reason; a test keeps the two alike. The tags are the names of the keys.
type Config struct {
	Node        NodeConfig        `key:"node"`
	Log         LogConfig         `key:"log"`
	Transport   TransportConfig   `key:"transport"`
	Admin       AdminConfig       `key:"admin"`
	Auth        AuthConfig        `key:"auth"`
	Users       UsersConfig       `key:"users"`
	Heartbeat   HeartbeatConfig   `key:"heartbeat"`
	Call        CallConfig        `key:"call"`
	Persistence PersistenceConfig `key:"persistence"`
	Cluster     ClusterConfig     `key:"cluster"`
	Limits      LimitsConfig      `key:"limits"`
	Drain       DrainConfig       `key:"drain"`
	Trace       TraceConfig       `key:"trace"`
}

// NodeConfig names this process.
type NodeConfig struct {
	Name string `key:"name"` // never empty once loaded: the host's name when the key is. Nobody else's in a cluster
}

// LogConfig is about the log on standard error.
type LogConfig struct {
	Level  string `key:"level"`  // debug, info, warn, error
	Format string `key:"format"` // text, json
}

// TransportConfig is about the QUIC listener.
type TransportConfig struct {
	Listen       string        `key:"listen"`    // host:port, UDP
	Advertise    string        `key:"advertise"` // host:port that clients are told; empty = Listen
	TLS          TLSConfig     `key:"tls"`
	LoginTimeout time.Duration `key:"login_timeout"`
	FrameTimeout time.Duration `key:"frame_timeout"`
	WriteTimeout time.Duration `key:"write_timeout"` // for 64 KiB
}

// TLSConfig names the certificate; both empty: a self-signed one in the data directory.
type TLSConfig struct {
	Cert string `key:"cert"` // PEM file
	Key  string `key:"key"`  // PEM file
}

// AdminConfig is about the HTTP listener of the operator.
type AdminConfig struct {
	Listen string `key:"listen"` // host:port, TCP; empty = no listener
	PProf  bool   `key:"pprof"`
}

// AuthConfig says how a login proves who it is.
type AuthConfig struct {
	Mode                 string        `key:"mode"` // none, jwt, token04
	AllowNoneOffLoopback bool          `key:"allow_none_off_loopback"`
	JWT                  JWTConfig     `key:"jwt"`
	Token04              Token04Config `key:"token04"`
}

// JWTConfig holds the keys that JSON Web Tokens are checked with; exactly one in mode jwt.
type JWTConfig struct {
	HS256Secret   string `key:"hs256_secret"`
	PublicKeyFile string `key:"public_key_file"` // PEM: Ed25519 or ECDSA P-256
	JWKSFile      string `key:"jwks_file"`
}

// Token04Config holds what ZIM's Token04 is checked with.
type Token04Config struct {
	Secret string `key:"secret"` // 32 bytes
	AppID  uint32 `key:"app_id"` // above 0 in mode token04
}

// UsersConfig says who can be invited (SPEC 5).
type UsersConfig struct {
	Registration string `key:"registration"` // open, strict
}

// HeartbeatConfig is about when a device counts as gone (SPEC 5).
type HeartbeatConfig struct {
	Interval time.Duration `key:"interval"`
	Timeout  time.Duration `key:"timeout"`
}

// CallConfig is the rules that new calls are created under (SPEC 1, 2).
type CallConfig struct {
	DefaultTimeout   time.Duration `key:"default_timeout"` // whole seconds
	NotReceivedAfter time.Duration `key:"not_received_after"`
	MaxDuration      time.Duration `key:"max_duration"`
	MemberLease      time.Duration `key:"member_lease"` // 0 = off
	Retention        time.Duration `key:"retention"`
	JoinPolicy       string        `key:"join_policy"` // anyone, invited
}

// PersistenceConfig says where calls are kept.
type PersistenceConfig struct {
	Engine     string `key:"engine"` // pebble, postgres, memory
	Dir        string `key:"dir"`
	DSN        string `key:"dsn"`          // postgres only
	MinFreeMiB int    `key:"min_free_mib"` // mebibytes
}

// ClusterConfig says whether this node shares its calls with others, and how it finds them.
type ClusterConfig struct {
	Enabled    bool             `key:"enabled"`
	Bind       string           `key:"bind"`        // host:port, TCP and UDP: membership
	RemoteBind string           `key:"remote_bind"` // host:port, TCP: messages
	Advertise  string           `key:"advertise"`   // host that others reach both at; empty = those of the binds
	Join       []string         `key:"join"`        // binds of other nodes, its own may be among them; empty = the first node
	SecretKey  string           `key:"secret_key"`  // of membership, 32 bytes at least; empty on loopback only
	TLS        ClusterTLSConfig `key:"tls"`
}

// ClusterTLSConfig secures messages between nodes, on both ends; all three empty on loopback only.
type ClusterTLSConfig struct {
	CA   string `key:"ca"`   // PEM file
	Cert string `key:"cert"` // PEM file
	Key  string `key:"key"`  // PEM file
}

// LimitsConfig bounds what clients may cost (SPEC 4).
type LimitsConfig struct {
	Connections           int `key:"connections"`
	ConnectionsPerAddress int `key:"connections_per_address"`
	Handshakes            int `key:"handshakes"`
	HandshakesPerSecond   int `key:"handshakes_per_second"`
	FramesPerSecond       int `key:"frames_per_second"`
	DevicesPerUser        int `key:"devices_per_user"`
	RequestsPerSecond     int `key:"requests_per_second"`
	RequestsBurst         int `key:"requests_burst"`
	Invitees              int `key:"invitees"`
	UsersInCall           int `key:"users_in_call"`
	ExtendedDataBytes     int `key:"extended_data_bytes"`
	PushTitleBytes        int `key:"push_title_bytes"`
	PushContentBytes      int `key:"push_content_bytes"`
	PushPayloadBytes      int `key:"push_payload_bytes"`
	InFlightPerDevice     int `key:"in_flight_per_device"`
	InFlight              int `key:"in_flight"`
	QueueBytes            int `key:"queue_bytes"`

	TargetWait time.Duration `key:"target_wait"` // for a processor; 0 = no matter how long
}

// DrainConfig is about a stop that people don't notice.
type DrainConfig struct {
	Timeout time.Duration `key:"timeout"`
	Spread  time.Duration `key:"spread"`
}

// TraceConfig is about OpenTelemetry spans.
type TraceConfig struct {
	OTLPEndpoint string `key:"otlp_endpoint"` // URL; empty = no tracing
}

// Default is the configuration of a node that was told nothing: loopback, no tokens, Pebble in ./data.
func Default() Config {
	return Config{
		Log: LogConfig{Level: "info", Format: "text"},
		Transport: TransportConfig{
			Listen: "127.0.0.1:7443", LoginTimeout: 5 * time.Second, FrameTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		},
		Admin:     AdminConfig{Listen: "127.0.0.1:7480"},
		Auth:      AuthConfig{Mode: "none"},
		Users:     UsersConfig{Registration: "open"},
		Heartbeat: HeartbeatConfig{Interval: 10 * time.Second, Timeout: 35 * time.Second},
		Call: CallConfig{
			DefaultTimeout: 90 * time.Second, NotReceivedAfter: 5 * time.Second,
			MaxDuration: 24 * time.Hour, Retention: 720 * time.Hour, JoinPolicy: "anyone",
		},
		Persistence: PersistenceConfig{Engine: "pebble", Dir: "./data", MinFreeMiB: 256},
		Cluster:     ClusterConfig{Bind: "127.0.0.1:7946", RemoteBind: "127.0.0.1:7950"},
		Limits: LimitsConfig{
			Connections: 50_000, ConnectionsPerAddress: 10_000, Handshakes: 1024, HandshakesPerSecond: 2000, FramesPerSecond: 200,
			DevicesPerUser:    10,
			RequestsPerSecond: 20, RequestsBurst: 60, Invitees: 9, UsersInCall: 10,
			ExtendedDataBytes: 2048, PushTitleBytes: 256, PushContentBytes: 1024, PushPayloadBytes: 4096,
			InFlightPerDevice: 64, InFlight: 10_000, QueueBytes: 256 << 10, TargetWait: 7 * time.Millisecond,
		},
		Drain: DrainConfig{Timeout: 10 * time.Second, Spread: 5 * time.Second},
	}
}
