package persistence

import (
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gentle is a file system on which tables are written a block at a time, and all others who are ready run in between. A
// flush or a compaction is much work at once, and Go's scheduler would give it nearly all of a busy processor until it is done.
type gentle struct{ vfs.FS }

func (g gentle) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	if err != nil || filepath.Ext(name) != ".sst" {
		return f, err
	}
	return gentleFile{f}, nil
}

type gentleFile struct{ vfs.File }

func (f gentleFile) Write(p []byte) (int, error) {
	runtime.Gosched()
	return f.File.Write(p)
}
