package main

import "testing"

func TestCollection(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		live, perSecond uint64
		want            int
	}{
		"a small node at work collects rarely":           {live: 50 * mb, perSecond: 25 * mb, want: 600},
		"a small node at rest keeps little":              {live: 50 * mb, perSecond: mb, want: gcPercent},
		"a small node with little to do waits as long":   {live: 50 * mb, perSecond: 8 * mb, want: 192},
		"a large node at work keeps to its share":        {live: 1000 * mb, perSecond: 80 * mb, want: gcShare},
		"a large node at rest keeps little":              {live: 1000 * mb, perSecond: 5 * mb, want: gcPercent},
		"what lives may grow before it is marked again":  {live: 2 * mb, perSecond: 80 * mb, want: maxGCPercent},
		"nothing has been marked yet, nothing allocated": {want: gcPercent},
	} {
		t.Run(name, func(t *testing.T) {
			under := &collection{percent: gcPercent, live: c.live}
			got := 0
			for i := range uint64(20) {
				got = under.next(c.live, (i+1)*c.perSecond)
			}
			if got < c.want*7/10 || got > c.want*13/10 { // small changes are not followed
				t.Errorf("%d %%, expected about %d %%", got, c.want)
			}
			if again := under.next(c.live, 21*c.perSecond); again != got {
				t.Errorf("%d %% becomes %d %%, and nothing has changed", got, again)
			}
		})
	}
}

func TestCollectionOfANodeThatComesToRest(t *testing.T) {
	const mb = 1 << 20
	c := &collection{percent: gcPercent}
	allocated := uint64(0)
	for range 10 {
		allocated += 40 * mb
		c.next(50*mb, allocated)
	}
	if c.percent <= gcPercent {
		t.Fatalf("%d %% at work", c.percent)
	}
	for range 30 {
		c.next(50*mb, allocated)
	}
	if c.percent != gcPercent {
		t.Errorf("%d %% at rest", c.percent)
	}
}

func TestCollectionWhileDevicesComeIn(t *testing.T) {
	const mb = 1 << 20
	c := &collection{percent: gcPercent}
	for i := range uint64(7) {
		if got, most := c.next((i+1)*20*mb, (i+1)*100*mb), 100*int(gcGrowth)/int((i+1)*20*mb)*4/3; i > 0 && got > most {
			t.Errorf("%d %% with %d MiB alive and growing, expected at most %d %%", got, (i+1)*20, most)
		}
	}
	if got := c.next(142*mb, 800*mb); got < 100 {
		t.Errorf("%d %% when no more come in", got)
	}
}

// TestCollectionWhileCallsComeIn: calls are remembered for a while, which makes more live; they are no devices.
func TestCollectionWhileCallsComeIn(t *testing.T) {
	const mb = 1 << 20
	c := &collection{percent: gcPercent}
	allocated := uint64(0)
	for live := uint64(50); live < 90; live += 10 { // of 300 MiB
		for range 5 {
			allocated += 60 * mb
			c.next(live*mb, allocated)
		}
		if live > 50 && c.percent < 300 {
			t.Errorf("%d %% with %d MiB alive", c.percent, live)
		}
	}
}

func TestCollectionGivesBackAtRest(t *testing.T) {
	const mb = 1 << 20
	c := &collection{percent: gcPercent}
	allocated := uint64(0)
	look := func(perSecond, free uint64) bool {
		allocated += perSecond
		c.next(400*mb, allocated)
		return c.rest(400*mb, free)
	}
	for range 20 {
		if look(80*mb, 300*mb) {
			t.Fatal("memory is given back at work")
		}
	}
	given := 0
	for range 15 {
		if look(mb, 300*mb) {
			given++
		}
	}
	if given != 1 {
		t.Errorf("memory is given back %d times in 15 seconds of rest", given)
	}
	for range 100 {
		if look(mb, 20*mb) {
			t.Fatal("memory is given back, of which little is free")
		}
	}
	for range 20 {
		given = 0
		if look(mb, 300*mb) {
			given++
		}
	}
	if given > 1 {
		t.Errorf("memory is given back %d times in 20 seconds of rest", given)
	}
}
