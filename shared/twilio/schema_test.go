package twilio_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// openAPI is the part of Twilio's official OpenAPI document that describes
// forms and answers.
type openAPI struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`

	templates map[string]*regexp.Regexp // the paths, to match requests
}

type operation struct {
	Parameters []struct {
		Name   string  `json:"name"`
		In     string  `json:"in"`
		Schema *schema `json:"schema"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]media `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]media `json:"content"`
	} `json:"responses"`
}

type media struct {
	Schema *schema `json:"schema"`
}

type schema struct {
	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Format     string             `json:"format"`
	Nullable   bool               `json:"nullable"`
	Enum       []string           `json:"enum"`
	Pattern    string             `json:"pattern"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
}

// undocumented are values that Twilio's guides name and its document forgets:
// https://help.twilio.com/articles/223132547 has "initiated".
func undocumented(name, value string) bool { return name == "call_enum_status" && value == "initiated" }

// loadOpenAPI reads the official document, or skips the test.
func loadOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	dir := os.Getenv("SENTINEL_TESTDATA")
	if dir == "" {
		dir = filepath.Join(projectRoot(t), "..", "shared", "testdata")
	}
	file := filepath.Join(dir, "twilio_api_v2010.json")
	raw, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		t.Skipf("NOT PROVED: Twilio's official document %s is absent; set SENTINEL_TESTDATA to its directory", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	doc := new(openAPI)
	if err := json.Unmarshal(raw, doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	doc.templates = make(map[string]*regexp.Regexp)
	for path := range doc.Paths {
		re := placeholder.ReplaceAllString(regexp.QuoteMeta(path), `[A-Za-z0-9]+`)
		doc.templates[path] = regexp.MustCompile("^" + re + "$")
	}
	return doc
}

func projectRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

var placeholder = regexp.MustCompile(`\\\{[A-Za-z]+\\\}`)

// operation finds what the document says about a request.
func (d *openAPI) operation(method, path string) (*operation, error) {
	for template, re := range d.templates {
		if !re.MatchString(path) {
			continue
		}
		raw, ok := d.Paths[template][strings.ToLower(method)]
		if !ok {
			return nil, fmt.Errorf("%s of %s is not in the document", method, path)
		}
		op := new(operation)
		return op, json.Unmarshal(raw, op)
	}
	return nil, fmt.Errorf("path %s is not in the document", path)
}

// checkRequest returns what is wrong with a request's parameters.
func (d *openAPI) checkRequest(method, path string, query, form url.Values) []string {
	op, err := d.operation(method, path)
	if err != nil {
		return []string{err.Error()}
	}
	known := map[string]*schema{}
	for _, p := range op.Parameters {
		if p.In == "query" {
			known[p.Name] = p.Schema
		}
	}
	body := op.RequestBody.Content["application/x-www-form-urlencoded"].Schema
	if body == nil {
		body = &schema{}
	}
	bad := append(d.checkValues("query", query, known), d.checkValues("form", form, body.Properties)...)
	for _, name := range body.Required {
		if form.Get(name) == "" {
			bad = append(bad, "form "+name+" is required")
		}
	}
	return bad
}

func (d *openAPI) checkValues(where string, values url.Values, known map[string]*schema) (bad []string) {
	for name, list := range values {
		s, ok := known[name]
		if !ok {
			bad = append(bad, where+" "+name+" is not in the document")
			continue
		}
		s = d.resolve(s)
		if s.Type == "array" {
			s = d.resolve(s.Items)
		} else if len(list) != 1 {
			bad = append(bad, fmt.Sprintf("%s %s is given %d times", where, name, len(list)))
		}
		for _, v := range list {
			bad = append(bad, d.check(where+" "+name, s, typed(s, v))...)
		}
	}
	return bad
}

// typed reads a form value as the schema's type, or leaves it a string.
func typed(s *schema, v string) any {
	switch s.Type {
	case "integer", "number":
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	case "boolean":
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	return v
}

// checkAnswer returns what is wrong with an answer that is no error.
func (d *openAPI) checkAnswer(method, path string, status int, body []byte) []string {
	op, err := d.operation(method, path)
	if err != nil {
		return []string{err.Error()}
	}
	r, ok := op.Responses[strconv.Itoa(status)]
	if !ok {
		return []string{fmt.Sprintf("status %d is not in the document", status)}
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return []string{err.Error()}
	}
	return d.check("answer", r.Content["application/json"].Schema, v)
}

func (d *openAPI) resolve(s *schema) *schema {
	if s == nil {
		return &schema{}
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if target := d.Components.Schemas[name]; target != nil {
			return target
		}
		return &schema{Type: "unresolved " + name}
	}
	return s
}

func (d *openAPI) check(at string, s *schema, v any) (bad []string) {
	enum, _ := strings.CutPrefix(s.Ref, "#/components/schemas/")
	s = d.resolve(s)
	say := func(format string, args ...any) { bad = append(bad, at+": "+fmt.Sprintf(format, args...)) }
	switch x := v.(type) {
	case nil:
		if !s.Nullable {
			say("must not be null")
		}
	case string:
		if s.Type != "string" {
			say("is a string, not %s", s.Type)
		}
		bad = append(bad, checkString(at, enum, s, x)...)
	case float64:
		if s.Type != "number" && (s.Type != "integer" || x != float64(int64(x))) {
			say("%v is not of type %s", x, s.Type)
		}
		if s.Minimum != nil && x < *s.Minimum || s.Maximum != nil && x > *s.Maximum {
			say("%v is out of range", x)
		}
	case bool:
		if s.Type != "boolean" {
			say("is a boolean, not %s", s.Type)
		}
	case []any:
		if s.Type != "array" {
			say("is an array, not %s", s.Type)
		}
		for i, item := range x {
			bad = append(bad, d.check(fmt.Sprintf("%s[%d]", at, i), s.Items, item)...)
		}
	case map[string]any:
		if s.Type != "object" {
			say("is an object, not %s", s.Type)
		}
		for name, item := range x {
			if p, ok := s.Properties[name]; ok {
				bad = append(bad, d.check(at+"."+name, p, item)...)
			} else if s.Format != "uri-map" {
				say("%s is not in the document", name)
			}
		}
	}
	return bad
}

func checkString(at, enum string, s *schema, v string) (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, at+": "+fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) && !undocumented(enum, v) {
		say("%q is none of %q", v, s.Enum)
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
		say("%q does not match %s", v, s.Pattern)
	}
	if s.MinLength != nil && len(v) < *s.MinLength || s.MaxLength != nil && len(v) > *s.MaxLength {
		say("%q has the wrong length", v)
	}
	if s.Format == "date-time-rfc-2822" {
		if _, err := time.Parse(time.RFC1123Z, v); err != nil {
			say("%v", err)
		}
	}
	return bad
}

// checkError checks Twilio's error answer, which the document does not describe.
func checkError(status int, body []byte) []string {
	var e struct {
		Code     int    `json:"code"`
		Message  string `json:"message"`
		MoreInfo string `json:"more_info"`
		Status   int    `json:"status"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return []string{err.Error()}
	}
	if e.Code == 0 || e.Message == "" || e.MoreInfo == "" || e.Status != status || http.StatusText(status) == "" {
		return []string{fmt.Sprintf("error answer %s of HTTP %d", body, status)}
	}
	return nil
}
