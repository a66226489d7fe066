package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// envPrefix starts the name of every environment variable: transport.listen is CARILLON_TRANSPORT_LISTEN.
const envPrefix = "CARILLON_"

// defaultFile is read when it exists and no file was named.
const defaultFile = "config.yaml"

// maxFile is the most bytes a configuration file may have.
const maxFile = 1 << 20

// flagKeys are the settings that have a flag.
var flagKeys = map[string]string{
	"node.name":          "name",
	"transport.listen":   "listen",
	"admin.listen":       "admin",
	"persistence.dir":    "data",
	"persistence.engine": "engine",
	"cluster.join":       "join",
	"log.level":          "log-level",
	"log.format":         "log-format",
}

// Sources is where settings come from, the first that says something wins: flag, environment, file, default.
type Sources struct {
	Flags *pflag.FlagSet // nil = no flags
	Env   []string       // "NAME=value", as os.Environ gives them
	File  string         // path; empty = config.yaml in the working directory if it exists
}

// setting is one leaf of Config: its key and where its value goes.
type setting struct {
	key   string
	value reflect.Value
}

func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settings lists the leaves of c in the order of the struct.
func settings(c *Config) []setting {
	var leaves []setting
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			key := prefix + v.Type().Field(i).Tag.Get("key")
			if field := v.Field(i); field.Kind() == reflect.Struct {
				walk(key+".", field)
			} else {
				leaves = append(leaves, setting{key, field})
			}
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return leaves
}

// Load reads the configuration and checks it. Its error is a sentence for people: it names the key, and the file, the
// variable or the flag that the value came from.
func Load(from Sources) (Config, error) {
	c := Default()
	leaves := settings(&c)
	l := loader{v: viper.New(), flags: from.Flags, env: map[string]string{}}
	if err := l.readEnv(from.Env, leaves); err != nil {
		return Config{}, err
	}
	if err := l.readFile(from.File, leaves); err != nil {
		return Config{}, err
	}
	l.bind(leaves)
	for _, s := range leaves {
		if err := l.set(s); err != nil {
			return Config{}, err
		}
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("the settings do not fit together: %w", err)
	}
	if c.Node.Name == "" {
		c.Node.Name = hostName()
	}
	return c, nil
}

func hostName() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "carillon"
}

type loader struct {
	v     *viper.Viper
	flags *pflag.FlagSet
	env   map[string]string // variables that name a setting, empty ones left out
	file  string            // path of the file that was read; empty = none
	keys  []string          // keys that the file sets
}

// readEnv takes the variables that start with CARILLON_ and refuses those that name no setting. What Kubernetes puts into
// a pod for a Service called carillon is nobody's setting and no mistake.
func (l *loader) readEnv(env []string, leaves []setting) error {
	known := map[string]bool{}
	var names []string
	for _, s := range leaves {
		known[s.env()] = true
		names = append(names, s.env())
	}
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || fromKubernetes(name) {
			continue
		}
		if !known[name] {
			return fmt.Errorf("environment variable %s names no setting%s", name, suggest(name, names))
		}
		l.env[name] = value
	}
	return nil
}

func fromKubernetes(name string) bool {
	return name == "CARILLON_PORT" || strings.HasPrefix(name, "CARILLON_PORT_") || strings.HasPrefix(name, "CARILLON_SERVICE_")
}

func (l *loader) readFile(path string, leaves []setting) error {
	named := path != ""
	if !named {
		path = defaultFile
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil
	case err != nil:
		return fmt.Errorf("the configuration file cannot be read: %w", err)
	case len(text) > maxFile:
		return fmt.Errorf("%s: longer than %d bytes", path, maxFile)
	}
	l.file = path
	l.v.SetConfigType("yaml")
	if err := l.v.ReadConfig(bytes.NewReader(text)); err != nil {
		return fmt.Errorf("%s is not YAML that can be read: %w", path, err)
	}
	var names []string
	for _, s := range leaves {
		names = append(names, s.key)
	}
	for _, key := range l.v.AllKeys() {
		if slices.Contains(names, key) {
			l.keys = append(l.keys, key)
		} else if err := l.unknown(key, names); err != nil {
			return err
		}
	}
	return nil
}

// unknown refuses a key of the file that is no setting; a section with nothing in it is harmless.
func (l *loader) unknown(key string, names []string) error {
	for _, name := range names {
		if !strings.HasPrefix(name, key+".") {
			continue
		}
		if l.v.Get(key) == nil {
			return nil
		}
		return fmt.Errorf("%s: key %s is a section, not a value; its keys are like %s", l.file, key, name)
	}
	return fmt.Errorf("%s: unknown key %s%s", l.file, key, suggest(key, names))
}

// bind lays default, environment and flag under and over the file; viper keeps the order.
func (l *loader) bind(leaves []setting) {
	for _, s := range leaves {
		l.v.SetDefault(s.key, s.value.Interface())
		if value, ok := l.env[s.env()]; ok {
			l.v.Set(s.key, value)
		}
		if flag := l.flag(s.key); flag != nil {
			l.v.Set(s.key, flagValue(flag))
		}
	}
}

// flagValue is what was given: a text, or a list of them.
func flagValue(flag *pflag.Flag) any {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return flag.Value.String()
}

// flag is the flag that sets the key, or nil when the command line does not.
func (l *loader) flag(key string) *pflag.Flag {
	if l.flags == nil || flagKeys[key] == "" {
		return nil
	}
	if f := l.flags.Lookup(flagKeys[key]); f != nil && f.Changed {
		return f
	}
	return nil
}

// origin says where the value of the setting came from, for an error.
func (l *loader) origin(s setting) string {
	if f := l.flag(s.key); f != nil {
		return fmt.Sprintf("flag --%s (%s)", f.Name, s.key)
	}
	if _, ok := l.env[s.env()]; ok {
		return fmt.Sprintf("environment variable %s (%s)", s.env(), s.key)
	}
	if slices.Contains(l.keys, s.key) {
		return fmt.Sprintf("%s: key %s", l.file, s.key)
	}
	return "default of " + s.key
}

func (l *loader) set(s setting) error {
	if err := decode(s.value, l.v.Get(s.key)); err != nil {
		return fmt.Errorf("%s: %w", l.origin(s), err)
	}
	if check := checks[s.key]; check != nil {
		if err := check(s.value.Interface()); err != nil {
			return fmt.Errorf("%s: %w", l.origin(s), err)
		}
	}
	return nil
}

// suggest names the nearest known name when a slip of the keyboard explains the unknown one.
func suggest(name string, known []string) string {
	best, least := "", 4
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return "; config.yaml in the repository lists all of them"
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or replace to make a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
