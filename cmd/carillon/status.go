package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carillon/cluster"
)

// maxStatus is the most bytes of an answer that are read.
const maxStatus = 4 << 20

// Status is what a node tells of itself and of its cluster at /status.
type Status struct {
	Node    string         `json:"node"`    // who was asked
	View    string         `json:"view"`    // the version of its view, in hex; empty: it is in no cluster, or not yet
	Members []MemberStatus `json:"members"` // of its view, by name; one node alone is a member too
}

// MemberStatus is what one member tells of itself; who asked it knows its name, state and shards in any case.
type MemberStatus struct {
	Name      string         `json:"name"`
	Version   string         `json:"version"`    // of the program
	State     string         `json:"state"`      // alive, leaving
	Client    string         `json:"client"`     // host:port that clients are told
	View      string         `json:"view"`       // as in Status
	Shards    int            `json:"shards"`     // that it owns
	OpenCalls map[string]int `json:"open_calls"` // by what they are doing: ringing, answered, ending, resting
	Devices   int            `json:"devices"`    // online there
	Store     string         `json:"store"`      // ok, or why not
	Error     string         `json:"error,omitempty"`
}

// member is what this node tells of itself.
func (n *Node) member(p *phases) MemberStatus {
	health := "ok"
	if err := n.store.Health(); err != nil {
		health = err.Error()
	}
	return MemberStatus{
		Name: n.cfg.Node.Name, Version: versionOf(version, debug.ReadBuildInfo), State: "alive",
		Client: cmp.Or(n.cfg.Transport.Advertise, n.Addr().String()), OpenCalls: n.openCalls(p), Devices: n.system.Stats().Devices, Store: health,
	}
}

// statusAlone is the status of a node that is in no cluster.
func (n *Node) statusAlone(p *phases) Status {
	self := n.member(p)
	self.Shards = cluster.Shards
	return Status{Node: self.Name, Members: []MemberStatus{self}}
}

func statusCommand() *cobra.Command {
	var admin string
	var asJSON bool
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "status",
		Short: "Show the members of a cluster and how they are",
		Long: "Ask a node, any of its cluster, how it and the others are, and print it as a table. Members that give no answer are\n" +
			"shown as such; it is an error only when the asked node gives none.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := reachable(admin); err != nil {
				return fmt.Errorf("flag --admin: %w", err)
			}
			if err := between(100*time.Millisecond, time.Minute)(timeout); err != nil {
				return fmt.Errorf("flag --timeout: %w", err)
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			answer, err := askStatus(ctx, admin)
			if err != nil {
				return err
			}
			return showStatus(command.OutOrStdout(), admin, answer, asJSON)
		},
	}
	command.Flags().StringVar(&admin, "admin", Default().Admin.Listen, "admin listener of the node to ask, host:port (its admin.listen)")
	command.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	command.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer, 100ms..1m")
	return command
}

// askStatus gives what the node says. Its errors are for people.
func askStatus(ctx context.Context, admin string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/status", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("flag --admin: %w", err)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, silence(admin, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err != nil {
		return nil, silence(admin, err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return body, nil
	case http.StatusNotFound:
		return nil, fmt.Errorf("what answers at %s knows no /status: it is an older node, or none", admin)
	default:
		said, _, _ := strings.Cut(string(body), "\n")
		return nil, fmt.Errorf("the node at %s answers %s: %s", admin, response.Status, clean(said))
	}
}

// silence says why there is no answer.
func silence(admin string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer from the node at %s in time: it is not there, or stands still (--timeout)", admin)
	}
	var why *net.OpError
	if errors.As(err, &why) {
		err = why
	}
	return fmt.Errorf("no node can be reached at %s (is it running, and is that its admin.listen? --admin names another): %w", admin, err)
}

// showStatus prints the answer: a table for people, all of it for programs.
func showStatus(out io.Writer, admin string, answer []byte, asJSON bool) error {
	var s Status
	if err := json.Unmarshal(answer, &s); err != nil || s.Node == "" {
		return fmt.Errorf("what answers at %s is no Carillon node", admin)
	}
	if !asJSON {
		_, err := io.WriteString(out, s.table())
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, bytes.TrimSpace(answer), "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, &pretty)
	return err
}
