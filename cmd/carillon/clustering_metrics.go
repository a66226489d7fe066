package main

// clusterCounts are what /metrics says of the cluster; none where the node is alone.
func (n *Node) clusterCounts() []Count {
	if n.cluster == nil {
		return nil
	}
	s := n.cluster.Stats()
	counts := []Count{
		{"view_changes", "Views adopted.", s.ViewChanges.Load},
		{"shards_gained", "Shards that came to this node.", s.Gained.Load},
		{"shards_lost", "Shards that went from this node.", s.Lost.Load},
		{"hand_offs", "Gained shards whose last owner has handed over.", s.HandOffs.Load},
		{"hand_offs_overdue", "Gained shards that were opened because their last owner took too long.", s.Overdue.Load},
		{"shards_disputed", "Shards found to be used on another node, too.", s.Disputed.Load},
		{"messages_sent", "Messages to other nodes.", s.Sent.Load},
		{"messages_arrived", "Messages from other nodes.", s.Arrived.Load},
		{"messages_forwarded", "Messages passed on to the owner of their shard.", s.Forwarded.Load},
		{"messages_held", "Messages that waited for a hand-off.", s.Held.Load},
		{"messages_early", "Messages that waited for a view which their sender had seen before.", s.Early.Load},
		{"messages_requeued", "Messages routed again because their node was gone.", s.Requeued.Load},
		{"messages_unknown", "Messages of a kind that this version does not know: dropped.", func() int64 { return s.Unknown.Load() + n.unknown.Load() }},
		{"messages_unrouted", "Messages that nobody owned, or that were passed on too often: dropped.", s.Unrouted.Load},
		{"messages_overflowed", "Messages that found a queue full: dropped.", s.Overflowed.Load},
		{"messages_undelivered", "Messages to a node that went before they left: dropped.", s.Undelivered.Load},
		{"send_failures", "Connections to a node that failed, with what was under way in them.", s.SendFailures.Load},
		{"name_conflicts", "Sightings of another node that uses a name in use.", s.Conflicts.Load},
		{"pauses", "Times that this process stood still for so long that others may have taken over.", s.Pauses.Load},
		{"panics", "Panics while handling another node's message.", s.Panics.Load},
	}
	for i := range counts {
		counts[i].Name = "carillon_cluster_" + counts[i].Name + "_total"
	}
	return counts
}
