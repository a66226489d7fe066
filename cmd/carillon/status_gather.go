package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"carillon/cluster"
)

// kindMember asks another node for its MemberStatus, as JSON. Append only: these numbers are between nodes.
const kindMember uint8 = 1

// status is what this node knows of its cluster, or of itself where it is alone. Members that do not answer while ctx lasts
// are shown as such.
func (n *Node) status(ctx context.Context, p *phases) Status {
	if n.cluster == nil {
		return n.statusAlone(p)
	}
	v := n.cluster.View()
	if len(v.Members) == 0 {
		return Status{Node: n.cfg.Node.Name, Members: []MemberStatus{n.memberInView(p)}}
	}
	out := Status{Node: n.cfg.Node.Name, View: viewName(v), Members: make([]MemberStatus, len(v.Members))}
	shares := v.Shares()
	var asked sync.WaitGroup
	for i, m := range v.Members {
		asked.Go(func() {
			s := n.askMember(ctx, m)
			s.Name, s.Version, s.Client, s.Shards, s.State = m.Name, m.Meta.Version, m.Meta.Client, shares[m.Name], "alive"
			if m.Leaving {
				s.State = "leaving"
			}
			out.Members[i] = s
		})
	}
	asked.Wait()
	return out
}

func (n *Node) askMember(ctx context.Context, m cluster.Member) (s MemberStatus) {
	answer, err := n.cluster.Ask(ctx, m.Name, kindMember, nil)
	if err == nil {
		err = json.Unmarshal(answer, &s)
	}
	if err != nil {
		return MemberStatus{Error: fmt.Sprint("no answer: ", err)}
	}
	return s
}

// answer is what this node answers to others.
func (n *Node) answer(kind uint8, p *phases) []byte {
	if kind != kindMember {
		return nil
	}
	b, err := json.Marshal(n.memberInView(p))
	if err != nil {
		n.log.Error("status", "error", err)
	}
	return b
}

func (n *Node) memberInView(p *phases) MemberStatus {
	s := n.member(p)
	s.View = viewName(n.cluster.View())
	return s
}

func viewName(v *cluster.View) string {
	if v.Version == 0 {
		return ""
	}
	return strconv.FormatUint(v.Version, 16)
}
