// Renders every row of ../cases/*.txt with Go's own text/template and sprig, and writes what came out to ../golden/*.txt.
//
// A case file has one row per line:
//
//	@group NAME     rows below are called NAME/1, NAME/2, …; clears data, files and globs
//	@data JSON      the root value of the rows below (whole numbers become int, others float64)
//	@file NAME TEXT another template of the set, for the rows below
//	@globs JSON     `.Files`: pattern -> path -> content
//	@env JSON       what the function env sees
//	@without NAME   the rows below do without sprig's function of that name, which hides a built-in one
//	@callable       the root value of the rows below has functions in it: greet and refuse
//	= TEXT          a template that must render
//	~ TEXT          the same at an edge: empty, nil, negative, huge, of another type, beyond the end, not ASCII
//	! TEXT          a template that must be refused
//	# …             a comment
//
// In TEXT `⏎` stands for a line feed, `␍` for a carriage return, `⇥` for a tab.
// A golden line is `NAME = OUTPUT` or `NAME ! ERROR` with \n, \r, \t, \\ and \xNN (control and invalid bytes) escaped.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/adler32"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"
	"gopkg.in/yaml.v2"
)

// mainName is what the template of a row is called in error messages.
const mainName = "case.tmpl"

type row struct {
	name, text string
	fails      bool
	data       any
	files      [][2]string
	globs      map[string]map[string]any
	env        map[string]string
	without    string
	callable   bool
}

// files is the value of .Files: a struct with methods, as werf's.
type files struct{ globs map[string]map[string]any }

func (f files) Glob(pattern string) map[string]any {
	found := f.globs[pattern]
	if len(found) == 0 {
		panic(fmt.Sprintf("{{ .Files.Glob %q }}: no matches found", pattern))
	}
	return found
}

func (f files) Get(path string) string {
	for _, found := range f.globs {
		if content, ok := found[path]; ok {
			return content.(string)
		}
	}
	panic(fmt.Sprintf("file %q not found", path))
}

func (f files) Exists(path string) bool {
	for _, found := range f.globs {
		if _, ok := found[path]; ok {
			return true
		}
	}
	return false
}

func main() {
	paths, err := filepath.Glob("../cases/*.txt")
	check(err)
	sort.Strings(paths)
	rows, wrong := 0, 0
	for _, path := range paths {
		var out bytes.Buffer
		for _, row := range read(path) {
			rows++
			text, err := render(row)
			if (err != nil) != row.fails {
				wrong++
				fmt.Fprintf(os.Stderr, "%s: %s: marked wrongly: output %q, error %v\n", path, row.name, text, err)
			}
			if err != nil {
				fmt.Fprintf(&out, "%s ! %s\n", row.name, escape(err.Error()))
			} else {
				fmt.Fprintf(&out, "%s = %s\n", row.name, escape(text))
			}
		}
		check(os.WriteFile(filepath.Join("../golden", filepath.Base(path)), out.Bytes(), 0o644))
	}
	fmt.Fprintf(os.Stderr, "%d rows, %d marked wrongly\n", rows, wrong)
	if wrong > 0 {
		os.Exit(1)
	}
}

func read(path string) []row {
	content, err := os.ReadFile(path)
	check(err)
	var rows []row
	var current row
	group, number := "", 0
	for at, line := range strings.Split(string(content), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "@group":
			group, number, current = rest, 0, row{}
		case "@data":
			current.data = decode(path, at, rest)
		case "@file":
			name, text, _ := strings.Cut(rest, " ")
			current.files = append(append([][2]string{}, current.files...), [2]string{name, expand(text)})
		case "@globs":
			current.globs = map[string]map[string]any{}
			check(json.Unmarshal([]byte(rest), &current.globs))
		case "@env":
			current.env = map[string]string{}
			check(json.Unmarshal([]byte(rest), &current.env))
		case "@callable":
			current.callable = true
		case "@without":
			current.without = rest
		case "=", "~", "!":
			number++
			next := current
			next.name = fmt.Sprintf("%s/%d", group, number)
			next.text = expand(rest)
			next.fails = word == "!"
			rows = append(rows, next)
		default:
			check(fmt.Errorf("%s:%d: a line begins with @, =, ~, ! or #", path, at+1))
		}
	}
	return rows
}

func decode(path string, at int, text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		check(fmt.Errorf("%s:%d: %w", path, at+1, err))
	}
	return numbers(value)
}

func numbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return int(whole)
		}
		float, err := value.Float64()
		check(err)
		return float
	case map[string]any:
		for key, item := range value {
			value[key] = numbers(item)
		}
	case []any:
		for at, item := range value {
			value[at] = numbers(item)
		}
	}
	return value
}

func clone(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key, item := range value {
			copied[key] = clone(item)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for at, item := range value {
			copied[at] = clone(item)
		}
		return copied
	}
	return value
}

func render(row row) (string, error) {
	set := template.New(mainName)
	all := functions(set, row.env)
	delete(all, row.without)
	set.Funcs(all)
	for _, file := range row.files {
		if _, err := set.New(file[0]).Parse(file[1]); err != nil {
			return "", err
		}
	}
	if _, err := set.New(mainName).Parse(row.text); err != nil {
		return "", err
	}
	data := clone(row.data)
	if root, ok := data.(map[string]any); ok && row.globs != nil {
		root["Files"] = files{row.globs}
	}
	if root, ok := data.(map[string]any); ok && row.callable {
		root["greet"] = func(name string, more ...any) string { return fmt.Sprintf("hello %s+%d", name, len(more)) }
		root["refuse"] = func(why string) (string, error) { return "", errors.New("refused: " + why) }
	}
	var out bytes.Buffer
	err := set.ExecuteTemplate(&out, mainName, data)
	return out.String(), err
}

// functions are sprig's without expandenv, and werf's own.
func functions(set *template.Template, environment map[string]string) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "expandenv")
	execute := func(name string, data any) (string, error) {
		var out bytes.Buffer
		err := set.ExecuteTemplate(&out, name, data)
		if err != nil {
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
	// What is shown for debugging is not wanted here.
	all["include_debug"], all["tpl_debug"] = all["include"], all["tpl"]
	all["printf_debug"] = func(string, ...any) (string, error) { return "", nil }
	all["dump_debug"] = func(any) (string, error) { return "", nil }
	all["required"] = func(message string, value any) (any, error) {
		if value == nil || value == "" {
			return value, errors.New(message)
		}
		return value, nil
	}
	all["env"] = func(name any, fallback ...string) (string, error) {
		if len(fallback) > 1 {
			return "", errors.New("more than 1 optional argument prohibited")
		}
		value, found := environment[fmt.Sprint(name)]
		switch {
		case value == "" && len(fallback) == 1:
			return fallback[0], nil
		case !found:
			return "", fmt.Errorf("the environment variable %q must be set or default must be provided", fmt.Sprint(name))
		}
		return value, nil
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
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(string(text), "\n"), nil
	}
	return all
}

func expand(text string) string {
	return strings.NewReplacer("⏎", "\n", "␍", "\r", "⇥", "\t").Replace(text)
}

func escape(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		char, size := utf8.DecodeRuneInString(text)
		switch {
		case char == '\n':
			out.WriteString(`\n`)
		case char == '\r':
			out.WriteString(`\r`)
		case char == '\t':
			out.WriteString(`\t`)
		case char == '\\':
			out.WriteString(`\\`)
		case char < ' ' || char == 0x7f || char == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		default:
			out.WriteString(text[:size])
		}
		text = text[size:]
	}
	return out.String()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
