// Renders configurations of real projects with Go's own template engine, sprig and yaml.v2, and reads the result as
// YAML: what the corpus test is held against. Standard input holds the cases as JSON, standard output the answers.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/adler32"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/bmatcuk/doublestar/v4"
	"gopkg.in/yaml.v2"
)

type testCase struct {
	// Folder holds the files that are given, Listing the paths of all files of the repository, a line each.
	Folder, Listing string
	// Config is the path of the configuration from the root, Prefix the project directory.
	Config, Prefix string
	// Env is the value of --env, Variable that of every variable.
	Env, Variable string
	// Repeat renders so often and tells the shortest time.
	Repeat int
}

type answer struct {
	Text, Error string
	// Yaml says what is wrong with the documents of the text.
	Yaml []string
	// Nanoseconds of the shortest run: parsing and executing.
	Nanoseconds int64
}

type project struct {
	testCase
	paths    []string
	contents map[string]string
	data     map[string]any
}

func main() {
	var cases []testCase
	check(json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&cases))
	answers := make([]answer, 0, len(cases))
	for _, one := range cases {
		answers = append(answers, answerTo(one))
	}
	check(json.NewEncoder(os.Stdout).Encode(answers))
}

func answerTo(one testCase) answer {
	p := load(one)
	var result answer
	for run := 0; run <= one.Repeat; run++ {
		start := time.Now()
		text, err := p.render()
		took := time.Since(start).Nanoseconds()
		if run == 0 || took < result.Nanoseconds {
			result.Nanoseconds = took
		}
		if err != nil {
			result.Error = err.Error()
			return result
		}
		result.Text = text
	}
	result.Yaml = read(result.Text)
	return result
}

func load(one testCase) *project {
	p := &project{testCase: one, contents: map[string]string{}}
	seen := map[string]bool{}
	check(filepath.WalkDir(one.Folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		relative, _ := filepath.Rel(one.Folder, name)
		p.contents[relative] = string(content)
		seen[relative] = true
		return err
	}))
	listing, err := os.ReadFile(one.Listing)
	check(err)
	for _, name := range strings.Split(string(listing), "\n") {
		if name != "" {
			seen[name] = true
		}
	}
	for name := range seen {
		p.paths = append(p.paths, name)
	}
	sort.Strings(p.paths)
	return p
}

// full is the path from the root of one that a template gives.
func (p *project) full(name string) string {
	return path.Join(p.Prefix, name)
}

func (p *project) Get(name string) string {
	full := p.full(name)
	if content, ok := p.contents[full]; ok {
		return content
	}
	if at := sort.SearchStrings(p.paths, full); at < len(p.paths) && p.paths[at] == full {
		return ""
	}
	panic(fmt.Sprintf("{{ .Files.Get %q }}: the file %q not found in the project git repository", name, name))
}

func (p *project) Glob(pattern string) map[string]any {
	found := map[string]any{}
	pattern = path.Clean(pattern)
	trimmed := pattern
	for trimmed == "*" || trimmed == "**" || strings.HasSuffix(trimmed, "/*") || strings.HasSuffix(trimmed, "/**") {
		trimmed = strings.TrimSuffix(strings.TrimRight(trimmed, "*"), "/")
	}
	for _, full := range p.paths {
		relative := full
		if p.Prefix != "" {
			var inside bool
			if relative, inside = strings.CutPrefix(full, p.Prefix+"/"); !inside {
				continue
			}
		}
		for _, glob := range []string{pattern, trimmed, path.Join(trimmed, "**", "*")} {
			if matched, err := doublestar.Match(glob, relative); err == nil && matched {
				found[relative] = p.contents[full]
			}
		}
	}
	if len(found) == 0 {
		panic(fmt.Sprintf("{{ .Files.Glob %q }}: no matches found", pattern))
	}
	return found
}

func (p *project) Exists(name string) bool {
	at := sort.SearchStrings(p.paths, p.full(name))
	return at < len(p.paths) && p.paths[at] == p.full(name)
}

func (p *project) IsDir(name string) bool {
	at := sort.SearchStrings(p.paths, p.full(name)+"/")
	return at < len(p.paths) && strings.HasPrefix(p.paths[at], p.full(name)+"/")
}

func (p *project) render() (string, error) {
	name := p.Config
	set := template.New(name)
	set.Funcs(p.functions(set))
	below := path.Join(p.Prefix, ".werf") + "/"
	for _, full := range p.paths {
		if inside, ok := strings.CutPrefix(full, below); ok && strings.HasSuffix(full, ".tmpl") {
			if _, err := set.New(inside).Parse(p.contents[full]); err != nil {
				return "", err
			}
		}
	}
	if _, err := set.Parse(p.contents[p.Config]); err != nil {
		return "", err
	}
	root := map[string]any{
		"Files": p,
		"Env":   p.Env,
		"Commit": map[string]any{
			"Hash": strings.Repeat("0", 40),
			"Date": map[string]string{"Human": "2024-01-01 00:00:00 +0000 UTC", "Unix": "1704067200"},
		},
	}
	var out bytes.Buffer
	err := set.ExecuteTemplate(&out, name, root)
	return out.String(), err
}

func (p *project) functions(set *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "expandenv")
	execute := func(name string, data any) (string, error) {
		var out bytes.Buffer
		if err := set.ExecuteTemplate(&out, name, data); err != nil {
			return "", err
		}
		return out.String(), nil
	}
	all["include"] = execute
	all["tpl"] = func(text string, data any) (string, error) {
		name := fmt.Sprintf("tpl-%d", adler32.Checksum([]byte(text)))
		if _, err := set.New(name).Parse(text); err != nil {
			return "", err
		}
		return execute(name, data)
	}
	all["required"] = func(message string, value any) (any, error) {
		if value == nil || value == "" {
			return value, errors.New(message)
		}
		return value, nil
	}
	all["env"] = func(name any, fallback ...string) (string, error) {
		if p.Variable == "" && len(fallback) == 1 {
			return fallback[0], nil
		}
		return p.Variable, nil
	}
	all["fromYaml"] = func(text string) (map[string]any, error) {
		value := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return nil, err
		}
		return value, nil
	}
	all["toYaml"] = func(value any) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	return all
}

// read splits the text as werf does and reads each document strictly.
func read(text string) []string {
	var problems []string
	var document strings.Builder
	finish := func() {
		var value map[string]any
		if err := yaml.UnmarshalStrict([]byte(document.String()), &value); err != nil {
			problems = append(problems, err.Error())
		}
		document.Reset()
	}
	for _, line := range strings.SplitAfter(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "---"); ok {
			rest = strings.TrimLeft(strings.TrimRight(rest, "\r\n"), " \t")
			if rest == "" || rest[0] == '#' {
				finish()
				continue
			}
		}
		document.WriteString(line)
	}
	finish()
	return problems
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
