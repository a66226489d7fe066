package persistence

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestTablesAreWrittenGently: who is ready runs between two blocks of a table; nothing comes between those of the log.
func TestTablesAreWrittenGently(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	fs := gentle{vfs.NewMem()}
	table, err := fs.Create("000001.sst", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var ran atomic.Bool
	done := make(chan struct{})
	go func() {
		ran.Store(true)
		close(done)
	}()
	for range 1000 {
		if _, err := table.Write([]byte("block")); err != nil {
			t.Fatal(err)
		}
	}
	if !ran.Load() {
		t.Error("nobody ran while a table was written")
	}
	<-done
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := fs.Create("000002.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, slow := log.(gentleFile); slow {
		t.Error("the log is written gently")
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}
