package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Within is how long one try may take.
const Within = 15 * time.Second

// Errors that tell failures apart. Each failure of a sender is one of the two.
var (
	// ErrTemporary: the same notice may well be delivered later.
	ErrTemporary = errors.New("temporary")
	// ErrPermanent: it will not, until somebody mends something.
	ErrPermanent = errors.New("permanent")
)

// Message is one notice.
type Message struct {
	ID       string // the same in each try, so that a receiver may drop what it has
	Kind     string
	Severity string // info, warning or critical
	Site     string // empty: it is of none
	Incident string // empty: it is of none
	Over     bool   // something has ended
	Subject  string
	Text     string
	At       time.Time // when it was decided, on the wall clock
}

// Sender is one channel of a person.
type Sender interface {
	// Send makes one try.
	Send(ctx context.Context, m Message) error
	// About is the channel as it may be shown, such as "ntfy at ntfy.example.org".
	About() string
}

// failure is an error in words that may be shown.
type failure struct {
	why       string
	temporary bool
}

func temporary(format string, args ...any) error { return &failure{fmt.Sprintf(format, args...), true} }
func permanent(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), false}
}

// Error implements error.
func (f *failure) Error() string { return f.why }

// Is implements errors.Is.
func (f *failure) Is(target error) bool {
	return target == ErrTemporary && f.temporary || target == ErrPermanent && !f.temporary
}

// line is a text on one line, for a subject or a header.
func line(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

// unanswered is what became of a request that got no answer.
func unanswered(ctx context.Context, about string, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return temporary("%s did not answer within %d s", about, int(Within.Seconds()))
	case ctx.Err() != nil:
		return temporary("the program stopped before %s had answered", about)
	}
	return temporary("%s was not reached: %s", about, network(err))
}
