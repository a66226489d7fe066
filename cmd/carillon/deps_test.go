package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "carillon"

// rule says what one package may import. Ours are named by their path in the module, others by a prefix of their path.
type rule struct {
	ours, others         []string
	testOurs, testOthers []string // what its tests may import besides
	why                  string
}

// messages is what handling a message of transport/wire takes: whoever may import wire may encode and decode.
const messages = "google.golang.org/protobuf/proto"

var testLibraries = []string{"pgregory.net/rapid", "go.uber.org/goleak", "github.com/anishathalye/porcupine"}

// architecture is the table "Who may import whom" of the design. A package that is not in it may not exist.
var architecture = map[string]rule{
	"actors/call": {
		why: "the core is pure: equal arguments, equal results, in the simulator as in production",
	},
	"actors/session": {
		ours: []string{"actors/call"},
		why:  "pure like call; it speaks of calls by their IDs and versions",
	},
	"transport/wire": {
		others:     []string{"google.golang.org/protobuf"},
		testOthers: []string{"github.com/google/go-cmp"},
		why:        "all that crosses a network, and nothing that would pull a socket or an actor into a client",
	},
	"actors": {
		ours:       []string{"actors/call", "actors/session", "transport/wire"},
		others:     []string{"github.com/asynkron/protoactor-go/actor", messages, "google.golang.org/protobuf/encoding/protowire"},
		testOurs:   []string{"persistence", "transport", "transport/client"},
		testOthers: []string{"github.com/quic-go/quic-go", "google.golang.org/protobuf", "github.com/cockroachdb/pebble/v2/vfs"},
		why:        "domain, mailbox and store; which store and which socket is joined in node.go",
	},
	"persistence": {
		ours:   []string{"actors/call", "actors/session"},
		others: []string{"github.com/cockroachdb/pebble/v2", "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3"},
		why:    "keeps what the core decides and decides nothing",
	},
	"cluster": {
		others: []string{
			"github.com/hashicorp/memberlist", "github.com/asynkron/protoactor-go/actor",
			"github.com/asynkron/protoactor-go/remote", "google.golang.org/grpc",
			"google.golang.org/protobuf", // all that remote carries
		},
		testOthers: []string{"google.golang.org/protobuf"},
		why:        "who is alive and who owns an identity; it knows nothing of calls",
	},
	"transport": {
		ours:       []string{"transport/wire"},
		others:     []string{"github.com/quic-go/quic-go", "github.com/golang-jwt/jwt/v5", messages},
		testOurs:   []string{"transport/client"},
		testOthers: []string{"google.golang.org/protobuf"},
		why:        "frames and tokens in, frames out; what they mean is the gateway's",
	},
	"transport/client": {
		ours:       []string{"transport/wire"},
		others:     []string{"github.com/quic-go/quic-go", messages},
		testOurs:   []string{"transport"},
		testOthers: []string{"google.golang.org/protobuf"},
		why:        "an app that links the SDK must not link the server",
	},
	"loadtest": {
		ours: []string{"transport/client", "transport/wire", "loadtest/chart", "loadtest/link", "loadtest/page", "loadtest/relay"},
		others: []string{
			"github.com/HdrHistogram/hdrhistogram-go",
			"github.com/quic-go/quic-go", messages, // thousands of users on few sockets, each frame checked: it is a client of its own
			"go.yaml.in/yaml/v3",           // its scenarios; viper's, so no further module
			"github.com/golang-jwt/jwt/v5", // the users' tokens, which an app's own server would sign
			"golang.org/x/term",            // its live view: is it a terminal, and how large
		},
		why: "it sees the service as an app does",
	},
	"loadtest/chart": {
		why: "draws numbers, whatever they mean",
	},
	"loadtest/link": {
		why: "who may give orders, and frames; what is ordered is not its matter",
	},
	"loadtest/relay": {
		others: []string{"github.com/quic-go/quic-go"},
		why:    "a yardstick, which shares nothing with what is measured",
	},
	"loadtest/page": {
		ours: []string{"loadtest/chart"},
		why:  "lays out what it is given",
	},
	"cmd/carillon": {
		ours: []string{
			"actors", "actors/call", "actors/session", "cluster", "persistence", "transport", "transport/client", "transport/wire",
		},
		others: []string{
			"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/spf13/viper",
			"github.com/prometheus/client_golang", "go.opentelemetry.io/otel", "golang.org/x/term",
		},
		testOthers: []string{
			"github.com/quic-go/quic-go", "google.golang.org/protobuf", "github.com/prometheus/client_model",
			"go.opentelemetry.io/proto/otlp",
		},
		why: "the composition root: here, and only here, everything meets",
	},
}

// pure packages take nothing from the standard library that could read a clock, a socket, a disk or chance.
var (
	pure    = []string{"actors/call", "actors/session"}
	pureStd = []string{
		"bytes", "cmp", "encoding/binary", "errors", "fmt", "hash/fnv", "iter", "maps", "math", "math/bits", "slices", "sort", "strconv",
		"strings", "time", "unicode", "unicode/utf8",
	}
	clockish = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// longestFile is in lines; generated files don't count. longFiles are those that may be longer, with the reason.
const longestFile = 400

var longFiles = map[string]string{}

func TestImportsFollowTheArchitecture(t *testing.T) {
	eachGoFile(t, func(path string, file *ast.File, _ *token.FileSet) {
		dir := filepath.ToSlash(filepath.Dir(path))
		r, known := architecture[dir]
		if !known {
			t.Errorf("%s: package %s is not in the table of the architecture", path, dir)
			return
		}
		test := strings.HasSuffix(path, "_test.go")
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if !r.allows(name, dir, test) {
				t.Errorf("%s may not import %s (%s: %s)", path, name, dir, r.why)
			}
		}
	})
}

func TestPureCoreIsPure(t *testing.T) {
	eachGoFile(t, func(path string, file *ast.File, fset *token.FileSet) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if !slices.Contains(pure, dir) || strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if standard(name) && !slices.Contains(pureStd, name) {
				t.Errorf("%s imports %s, which a pure package has no use for", path, name)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clockish, n.Sel.Name) {
					t.Errorf("%s: time.%s in a pure package: now is an argument", fset.Position(n.Pos()), n.Sel.Name)
				}
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine in a pure package", fset.Position(n.Pos()))
			}
			return true
		})
	})
}

func TestFilesAreShort(t *testing.T) {
	eachGoFile(t, func(path string, file *ast.File, fset *token.FileSet) {
		lines := fset.File(file.Pos()).LineCount()
		if lines > longestFile+1 && !ast.IsGenerated(file) && longFiles[path] == "" {
			t.Errorf("%s has %d lines, more than %d: it does more than one thing", path, lines-1, longestFile)
		}
	})
	for path := range longFiles {
		if _, err := os.Stat(filepath.Join(moduleRoot(t), path)); err != nil {
			t.Errorf("the exception for %s is for no file: %v", path, err)
		}
	}
}

func TestRules(t *testing.T) {
	r := rule{ours: []string{"actors/call"}, others: []string{"example.org/a"}, testOurs: []string{"persistence"}}
	for _, tc := range []struct {
		path       string
		test, want bool
	}{
		{"time", false, true},
		{"net/http", false, true},
		{"carillon/actors/call", false, true},
		{"carillon/actors", false, false},
		{"carillon/actors/callback", false, false},
		{"carillon/persistence", false, false},
		{"carillon/persistence", true, true},
		{"carillon/actors/session", true, true},
		{"example.org/a", false, true},
		{"example.org/a/b", false, true},
		{"example.org/ab", false, false},
		{"pgregory.net/rapid", false, false},
		{"pgregory.net/rapid", true, true},
	} {
		if got := r.allows(tc.path, "actors/session", tc.test); got != tc.want {
			t.Errorf("allows(%s, test %v) = %v", tc.path, tc.test, got)
		}
	}
}

// allows reports whether a file of dir may import the path. A test outside its package imports that package.
func (r rule) allows(path, dir string, test bool) bool {
	if own, ok := strings.CutPrefix(path, module+"/"); ok {
		return slices.Contains(r.ours, own) || test && (own == dir || slices.Contains(r.testOurs, own))
	}
	under := func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
	return standard(path) || slices.ContainsFunc(r.others, under) ||
		test && (slices.ContainsFunc(r.testOthers, under) || slices.ContainsFunc(testLibraries, under))
}

// standard reports whether the path is of Go's own library: its first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != module
}

// eachGoFile visits every Go file of the module, parsed.
func eachGoFile(t *testing.T, visit func(path string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	top := moduleRoot(t)
	visited := 0
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != top && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		visited++
		visit(filepath.ToSlash(relative), file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if visited < 10 {
		t.Fatalf("found %d Go files under %s: the walk is broken", visited, top)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(top, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return top
}
