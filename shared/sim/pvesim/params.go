package pvesim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	minVMID = 100
	maxVMID = 999999999
)

var (
	nodeName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$`)
	vmidForm = regexp.MustCompile(`^[1-9][0-9]{2,8}$`)
	integer  = regexp.MustCompile(`^[+-]?[0-9]+$`)

	errMalformedJSON = errors.New("malformed JSON string")
)

// kind is a parameter's type, with the word that error texts use for it.
type kind string

const (
	kindString  kind = "string"
	kindInteger kind = "integer"
	kindBoolean kind = "boolean"
)

// param says what a parameter may be. Written by hand from the documentation of
// the few calls that are simulated.
type param struct {
	kind     kind
	required bool
	min      *int64
	enum     []string
	format   *regexp.Regexp
	what     string // what the format is, for the error text
	rootOnly bool   // refused to every token if set
}

// params reads a request's parameters: the body's, and over them the query's.
// Values are strings, json.Numbers, bools, or what else JSON may hold.
func params(r *http.Request, body []byte) (map[string]any, error) {
	got := map[string]any{}
	if len(body) > 0 {
		if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == "application/json" {
			dec := json.NewDecoder(bytes.NewReader(body))
			dec.UseNumber()
			if err := dec.Decode(&got); err != nil || got == nil {
				return nil, errMalformedJSON
			}
			if _, err := dec.Token(); !errors.Is(err, io.EOF) {
				return nil, errMalformedJSON
			}
		} else {
			addForm(got, string(body))
		}
	}
	addForm(got, r.URL.RawQuery)
	delete(got, "_dc") // what browsers add against caches
	return got, nil
}

// addForm decodes as the real one does, which is not fussy about escapes.
func addForm(to map[string]any, encoded string) {
	for _, pair := range strings.FieldsFunc(encoded, func(r rune) bool { return r == '&' || r == ';' }) {
		k, v, _ := strings.Cut(pair, "=")
		to[unescape(k)] = unescape(v)
	}
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// checkParams returns an error text for each parameter that is wrong.
func checkParams(want map[string]param, got map[string]any) map[string]string {
	wrong := map[string]string{}
	for name, v := range got {
		p, known := want[name]
		switch {
		case !known:
			wrong[name] = "property is not defined in schema and the schema does not allow additional properties"
		case v == nil: // as if it was not there
		default:
			if text := p.check(v); text != "" {
				wrong[name] = text
			}
		}
	}
	for name, p := range want {
		if p.required && got[name] == nil {
			wrong[name] = "property is missing and it is not optional"
		}
	}
	return wrong
}

func (p param) check(v any) string {
	text, scalar := scalarText(v)
	failed := fmt.Sprintf("type check ('%s') failed - got '%s'", p.kind, text)
	if !scalar {
		if _, isBool := v.(bool); !isBool || p.kind != kindBoolean {
			return failed
		}
	}
	switch p.kind {
	case kindBoolean:
		if scalar && text != "0" && text != "1" { // not even "true" in a form
			return failed
		}
		if p.rootOnly && truth(v) {
			return "Only root may use this option."
		}
	case kindInteger:
		if !integer.MatchString(text) {
			return failed
		}
	}
	if p.format != nil && !p.format.MatchString(text) {
		return "invalid format - value does not look like a valid " + p.what + "\n"
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && p.min != nil && n < float64(*p.min) {
		return fmt.Sprintf("value must have a minimum value of %d", *p.min)
	}
	if p.enum != nil && !slices.Contains(p.enum, text) {
		return fmt.Sprintf("value '%s' does not have a value in the enumeration '%s'", text, strings.Join(p.enum, ", "))
	}
	return ""
}

// scalarText is a string's or number's text; for anything else its type.
func scalarText(v any) (text string, scalar bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return "JSON::PP::Boolean", false
	case []any:
		return "ARRAY", false
	default:
		return "HASH", false
	}
}

func truth(v any) bool {
	text, _ := scalarText(v)
	return v == true || text == "1"
}
