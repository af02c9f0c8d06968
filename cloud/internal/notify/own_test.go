package notify

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/speech"
)

// fits takes any text.
func fits(string, speech.Language) error { return nil }

func load(path string) (*Texts, error) {
	return LoadTexts(path, speech.English, []string{"Alex", "Sam"}, []string{"home"}, fits)
}

func wrote(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestC1_OwnTexts take the place of single ones; the others are as shipped.
func TestC1_OwnTexts(t *testing.T) {
	path := wrote(t, filepath.Join(t.TempDir(), "texts.tmpl"), `
{{- define "greeting"}}{{.Contact}}! {{end}}
{{define "tailnet_down"}}{{template "greeting" .}} Since {{clock .Since}} I am deaf. {{template "advice" .}}{{end}}
{{define "advice"}}{{range .Nodes}}{{name .}}{{else}}Stay calm.{{end}}{{end}}`)
	own, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !own.Own(speech.English) || own.Own(speech.German) {
		t.Error("the file is of another language")
	}
	say := func(kind string, l speech.Language) string {
		text, err := own.Say(Samples(kind, "Alex", "home")[0].Story, l)
		if err != nil {
			t.Error(err)
		}
		return text
	}
	for _, tt := range []struct{ got, want string }{
		{say("tailnet_down", speech.English), "Alex! Since 19 02 I am deaf. Stay calm."},
		{say("node_failure", speech.English), "Alex! P V E 2 at home has not answered since 19 02. The other three servers there are fine."},
		{say("tailnet_down", speech.German), "Hallo Alex. Hier ist dein Sentinel. Tailscale ist seit 19 Uhr 2 nicht erreichbar, also höre ich nichts von zu Hause. Dort kann alles in Ordnung sein."},
	} {
		if tt.got != tt.want {
			t.Errorf("said %q, not %q", tt.got, tt.want)
		}
	}
}

// TestC1_OwnTextsOfEachLanguage stand in a directory.
func TestC1_OwnTextsOfEachLanguage(t *testing.T) {
	dir := t.TempDir()
	wrote(t, filepath.Join(dir, "texts.de.tmpl"), `{{define "tailnet_down"}}Kein Netz, {{.Contact}}.{{end}}`)
	wrote(t, filepath.Join(dir, "texts.zh.tmpl"), `{{define "tailnet_down"}}{{.Contact}}，断网了。{{end}}`)
	wrote(t, filepath.Join(dir, "README"), "not a text")
	own, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for l, want := range map[speech.Language]string{speech.German: "Kein Netz, Alex.", speech.Chinese: "Alex，断网了。"} {
		if got, err := own.Say(Story{Kind: "tailnet_down", Contact: "Alex"}, l); got != want || err != nil {
			t.Errorf("said %q, %v", got, err)
		}
	}
	if own.Own(speech.English) {
		t.Error("there is an English one")
	}
}

// TestR5_WrongTexts are refused with file and line, and what to write instead.
func TestR5_WrongTexts(t *testing.T) {
	dir := t.TempDir()
	for i, tt := range []struct{ text, wrong string }{
		{"{{define \"power_outage\"}}\n{{if}}{{end}}", ":2: missing value for if"},
		{"\n\n{{define \"power_outage\"}}{{shout .Site}}{{end}}", `:3: function "shout" not defined`},
		{"{{define \"power_outage\"}}Hi.\n{{.Sites}}{{end}}", `:2:2: executing "power_outage" at <.Sites>: can't evaluate field Sites in type notify.Story; seen with "the plan begins"`},
		{`{{define "power_outage"}}{{percent .Charge}}.{{end}}`, `:1:27: executing "power_outage" at <percent .Charge>: `},
		{`{{define "power_outtage"}}Hi.{{end}}`, `: no call says "power_outtage"; the texts are node_failure, power_outage, internet_outage, power_unwatched, tailnet_down`},
		{`{{define "power_outage"}} {{end}}`, `: power_outage says nothing; write {{""}} in it if that is meant, or remove it`},
		{`{{define "power_outage"}}{{if .Cause}}never{{end}}{{end}}`, `: power_outage says nothing; seen with "the plan begins"`},
		{`{{define "power_outage"}}` + strings.Repeat("word ", 76) + `{{end}}`, `: power_outage takes 30 s to be said, and 30 s is what people listen to; shorten it; seen with "the plan begins"`},
		{`Hello.`, `: "Hello." stands outside of any text; put it between {{define "power_outage"}} and {{end}}`},
		{`{{define "power_outage"}}{{template "nothing"}}{{end}}`, `:1:36: executing "power_outage" at <{{template "nothing"}}>: template "nothing" not defined`},
		{`{{define "power_outage"}}{{template "power_outage" .}}{{end}}`, "exceeded maximum template depth"},
		{strings.Repeat(" ", 64<<10+1), ": is over 65536 bytes"},
	} {
		path := wrote(t, filepath.Join(dir, fmt.Sprintf("%d.tmpl", i)), tt.text)
		_, err := load(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":") || !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%.60q: %v\nnot %s%s", tt.text, err, path, tt.wrong)
		}
	}
	empty := t.TempDir()
	if _, err := load(empty); err == nil || !strings.Contains(err.Error(), "there are no texts in it; put in texts.en.tmpl") {
		t.Errorf("an empty directory: %v", err)
	}
	french := wrote(t, filepath.Join(empty, "texts.fr.tmpl"), "")
	if _, err := load(empty); err == nil || !strings.HasPrefix(err.Error(), french+": is of no language; ") {
		t.Errorf("a language that there is not: %v", err)
	}
	if _, err := load(filepath.Join(empty, "none")); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	long := wrote(t, filepath.Join(dir, "long.tmpl"), `{{define "tailnet_down"}}Hi.{{end}}`)
	_, err := LoadTexts(long, speech.English, []string{"Alex"}, []string{"home"}, func(text string, _ speech.Language) error {
		if text == "Hi." {
			return errors.New("it has too many characters")
		}
		return nil
	})
	if err == nil || err.Error() != long+`: tailnet_down does not fit: it has too many characters; seen with "as it is told first"` {
		t.Errorf("one that does not fit: %v", err)
	}
}

// TestC1_FieldsAreDocumented: docs/calls.md has every field that templates see, as the code has it.
func TestC1_FieldsAreDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "story.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = s
			}
		}
		return true
	})
	table := "| field | type | what it is |\n|---|---|---|\n"
	rows := 0
	for _, s := range []struct{ of, under string }{{"Story", "."}, {"Cause", ".Cause."}, {"Worse", ".Worse."}, {"PlanStory", ".Plan."}} {
		for _, f := range structs[s.of].Fields.List {
			said := strings.Join(strings.Fields(f.Comment.Text()+" "+f.Doc.Text()), " ")
			if said == "" {
				t.Errorf("%s.%s says nothing of itself", s.of, f.Names[0].Name)
			}
			for _, name := range f.Names {
				table += fmt.Sprintf("| `%s%s` | %s | %s |\n", s.under, name.Name, typed(f.Type), said)
				rows++
			}
		}
	}
	if rows < 35 {
		t.Fatalf("only %d fields", rows)
	}
	const path, from, to = "../../../docs/calls.md", "<!-- fields -->\n", "<!-- /fields -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), from)
	old, tail, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatal("docs/calls.md has no place for the fields")
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+from+table+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, table); diff != "" {
		t.Errorf("-update writes it anew (-written +is):\n%s", diff)
	}
	for name := range speech.English.Funcs() {
		if !strings.Contains(head+tail, "`"+name) {
			t.Errorf("docs/calls.md does not tell of the function %s", name)
		}
	}
}

func typed(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typed(e.X) + ", or nothing"
	case *ast.ArrayType:
		return "list of " + typed(e.Elt)
	case *ast.SelectorExpr:
		return strings.ToLower(e.Sel.Name)
	case *ast.Ident:
		words := map[string]string{"PlanStory": "see below", "Cause": "see below", "Worse": "see below", "string": "text", "bool": "yes or no", "int": "number", "float64": "ratio"}
		if w, ok := words[e.Name]; ok {
			return w
		}
		return e.Name
	}
	return "?"
}
