package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// checkCluster is what must hold between the settings of a cluster, and between them and the others.
func (c *Config) checkCluster() error {
	k := c.Cluster
	if (k.Enabled || len(k.Join) > 0) && c.Persistence.Engine != "postgres" {
		key := "cluster.enabled is true"
		if !k.Enabled {
			key = "cluster.join names other nodes"
		}
		return fmt.Errorf("%s, but persistence.engine is %s: all nodes of a cluster must see the same calls, and that store belongs to one process; "+
			"set persistence.engine to postgres", key, c.Persistence.Engine)
	}
	if len(k.Join) > 0 && !k.Enabled {
		return errors.New("cluster.join names other nodes, but cluster.enabled is false: set it to true, or leave cluster.join empty")
	}
	if set := k.TLS.files(); set != 0 && set != 3 {
		return fmt.Errorf("cluster.tls.ca, cluster.tls.cert and cluster.tls.key go together: set all three or none, not %d of them", set)
	}
	if !k.Enabled {
		return nil
	}
	if err := k.checkBinds(); err != nil {
		return err
	}
	return c.Transport.checkAdvertised()
}

// checkBinds refuses what would let strangers in and what others could not reach.
func (c ClusterConfig) checkBinds() error {
	if !loopback(c.Bind) && c.SecretKey == "" {
		return fmt.Errorf("cluster.bind is %s, which is not loopback, and cluster.secret_key is empty, so that anyone could join: "+
			"set cluster.secret_key, the same for all nodes", c.Bind)
	}
	if !loopback(c.RemoteBind) && c.TLS.files() == 0 {
		return fmt.Errorf("cluster.remote_bind is %s, which is not loopback, and cluster.tls is not set, so that anyone could send: "+
			"set cluster.tls.ca, cluster.tls.cert and cluster.tls.key (`carillon certs` makes them)", c.RemoteBind)
	}
	for _, bind := range [][2]string{{"cluster.bind", c.Bind}, {"cluster.remote_bind", c.RemoteBind}} {
		if host, _, _ := net.SplitHostPort(bind[1]); unspecified(host) && c.Advertise == "" {
			return fmt.Errorf("%s is %s, which is no address that others can reach: say in cluster.advertise at which host they reach this node",
				bind[0], bind[1])
		}
	}
	return nil
}

// checkAdvertised: the other nodes tell clients where to find this one.
func (c TransportConfig) checkAdvertised() error {
	if host, _, _ := net.SplitHostPort(c.Listen); unspecified(host) && c.Advertise == "" {
		return fmt.Errorf("cluster.enabled is true and transport.listen is %s, which is no address that clients can reach: "+
			"say in transport.advertise at which host:port they reach this node", c.Listen)
	}
	if _, port, _ := net.SplitHostPort(c.Listen); port == "0" && c.Advertise == "" {
		return fmt.Errorf("cluster.enabled is true and transport.listen is %s, whose port the other nodes cannot know beforehand: "+
			"choose a port, or say in transport.advertise at which host:port clients reach this node", c.Listen)
	}
	return nil
}

// files counts those that are named.
func (c ClusterTLSConfig) files() int {
	n := 0
	for _, file := range []string{c.CA, c.Cert, c.Key} {
		if file != "" {
			n++
		}
	}
	return n
}

// key is what membership is encrypted with, 32 bytes; nil: nothing is.
func (c ClusterConfig) key() []byte {
	if c.SecretKey == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(c.SecretKey))
	return sum[:]
}

// unspecified reports whether the host stands for all interfaces, which nobody can connect to.
func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// peerAddress is a host:port with a port that others know beforehand.
func peerAddress(v any) error {
	_, port, err := net.SplitHostPort(v.(string))
	if err != nil {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:7946 or [::]:7946", v)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: the port must be a number in 1..65535", v)
	}
	return nil
}

// reachable is a host:port that others can connect to.
func reachable(v any) error {
	if err := peerAddress(v); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(v.(string)); unspecified(host) {
		return fmt.Errorf("%q names no host that can be reached", v)
	}
	return nil
}

// hostOnly is a name or an IP address that others can connect to.
func hostOnly(v any) error {
	host := v.(string)
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":[]/ ") {
		return fmt.Errorf("%q is not a host alone, such as 10.0.0.1, fd00::1 or node1.example.org; the ports are those of cluster.bind and cluster.remote_bind", v)
	}
	if unspecified(host) {
		return fmt.Errorf("%q names no host that can be reached", v)
	}
	return nil
}

// each checks the entries of a list, which has at most so many.
func each(most int, check func(any) error) func(any) error {
	return func(v any) error {
		list := v.([]string)
		if len(list) > most {
			return fmt.Errorf("%d entries are more than %d", len(list), most)
		}
		for _, entry := range list {
			if err := check(entry); err != nil {
				return err
			}
		}
		return nil
	}
}
