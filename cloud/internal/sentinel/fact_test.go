package sentinel_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// factNames are those of the source, so that none can be forgotten in NewFact.
func factNames(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "fact.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "FactName" {
			continue
		}
		lit, ok := fn.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit)
		if !ok {
			t.Fatal("a FactName is no literal")
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) < 30 {
		t.Fatalf("only %d facts in fact.go", len(names))
	}
	return names
}

func TestNewFactKnowsEveryFact(t *testing.T) {
	names := factNames(t)
	for _, n := range names {
		if f := sentinel.NewFact(n); f == nil || f.FactName() != n {
			t.Errorf("NewFact(%q) = %v", n, f)
		}
	}
	slices.Sort(names)
	if once := slices.Compact(slices.Clone(names)); len(once) != len(names) {
		t.Errorf("two facts have one name: %q", names)
	}
	if f := sentinel.NewFact("no_such_fact"); f != nil {
		t.Errorf("NewFact invented %v", f)
	}
}

// TestFactsStayReadable fills every field of every fact and compares the JSON with what
// was committed: facts are kept for ever, so names and fields change only by new ones.
func TestFactsStayReadable(t *testing.T) {
	const golden = "testdata/facts.jsonl"
	var now bytes.Buffer
	filled := map[string]sentinel.Fact{}
	for _, n := range factNames(t) {
		f := sentinel.NewFact(n)
		fill(t, reflect.ValueOf(f).Elem(), 1)
		body, err := json.Marshal(f)
		if err != nil {
			t.Fatalf("encode %s: %v", n, err)
		}
		filled[n] = f
		fmt.Fprintf(&now, "%s %s\n", n, body)
	}
	if *update {
		if err := os.WriteFile(golden, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(kept), "\n"), strings.Split(now.String(), "\n")); diff != "" {
		t.Errorf("facts are written otherwise than before (-before +now):\n%s", diff)
	}
	for line := range strings.Lines(string(kept)) {
		name, body, _ := strings.Cut(strings.TrimSpace(line), " ")
		f := sentinel.NewFact(name)
		if f == nil {
			t.Errorf("%s can no longer be read", name)
			continue
		}
		d := json.NewDecoder(strings.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(f); err != nil {
			t.Errorf("read %s: %v", name, err)
		} else if diff := cmp.Diff(filled[name], f); diff != "" {
			t.Errorf("%s does not survive the journal (-written +read):\n%s", name, diff)
		}
	}
}

// fill gives every field a value that is not its zero.
func fill(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 11, 21, 19, 2, n, 5, time.UTC)))
		return
	case time.Duration:
		v.SetInt(int64(time.Duration(n) * time.Second))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint64, reflect.Uint32:
		v.SetUint(uint64(n))
	case reflect.Float64:
		v.SetFloat(float64(n) / 2)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, n)
		fill(t, value, n)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	default:
		t.Fatalf("fill does not know %s", v.Type())
	}
}

// TestEveryFactHasASentence: all but bookkeeping is told in the timeline, and nothing
// panics over empty fields.
func TestEveryFactHasASentence(t *testing.T) {
	quiet := []string{"call_placed", "announcement_seen", "run_stepped", "record_complete"} // the empty run step has no type
	for _, n := range factNames(t) {
		if n == "run_stepped" {
			continue
		}
		if text := sentinel.Sentence(sentinel.NewFact(n)); text == "" && n != "noticed" && !slices.Contains(quiet, n) {
			t.Errorf("%s is not told", n)
		}
	}
}
