package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// inWords says what is wrong with a message of size bytes as a person would, whatever
// encoding/json calls it.
func inWords(err error, size int) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF) || size == 0:
		return errors.New("there is nothing in it")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the JSON breaks off after %d bytes", size)
	case errors.As(err, &syntax) && syntax.Offset >= int64(size) && strings.HasPrefix(syntax.Error(), "unexpected end"):
		return fmt.Errorf("the JSON breaks off after %d bytes", size)
	case errors.As(err, &syntax):
		what, _, _ := strings.Cut(syntax.Error(), " looking for")
		return fmt.Errorf("%s at byte %d", what, syntax.Offset)
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("%s where %s is due", got(wrong.Value), due(wrong.Type))
	case errors.As(err, &wrong):
		return fmt.Errorf("%.80s: %s where %s is due", wrong.Field, got(wrong.Value), due(wrong.Type))
	}
	if text, ok := strings.CutPrefix(err.Error(), "json: "); ok { // it has no type for an unknown field
		return errors.New(strings.ToValidUTF8(text[:min(len(text), 80)], ""))
	}
	return err
}

// got names a JSON value as encoding/json does, "number -7" where the number does not fit.
func got(value string) string {
	switch value {
	case "number":
		return "a number"
	case "string":
		return "text"
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return fmt.Sprintf("the %.40s", value)
}

// due names what a field takes.
func due(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number of 0 or more"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "text in base64"
		}
		return "a list"
	}
	return "an object"
}
