package twiliosim

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config describes the simulated account and who wants to know what happens.
// The callbacks never run under the server's lock and may use the server. Edge
// runs in the request's goroutine, so it may run several times at once; OnSpeech
// and OnStatus run one after the other, in the order of what they tell.
type Config struct {
	AccountSID, KeySID, KeySecret string
	AuthToken                     string            // signs what goes to the addresses that TwiML names
	Web                           http.RoundTripper // the way to them; nil: none is reached

	Numbers  []string  // what the account owns, and may call and text from, E.164
	Verified []string  // other numbers that it may call from
	Default  Behaviour // of numbers without a script; Answer{} if nil
	Timing   Timing
	Balance  string // "20.00" if empty
	Key      KeyType

	Edge     func(Exchange)        // each request, before its answer leaves
	OnSpeech func(to, text string) // a call's text begins to be spoken
	OnStatus func(Call)            // a call was created or changed its status
	// OnCallback tells of each request to an address that TwiML names, in the call's own goroutine.
	// Path is the whole address.
	OnCallback func(Exchange)
}

// KeyType is how much the API key may ask for.
type KeyType string

// The types of keys.
const (
	Main       KeyType = ""           // everything
	Standard   KeyType = "standard"   // all but the account
	Restricted KeyType = "restricted" // calls alone
)

// Timing is how long things take; zero fields have the default named.
type Timing struct {
	Queue   time.Duration // created until dialled, 100 ms
	Dial    time.Duration // dialled until it rings, 200 ms
	Detect  time.Duration // answered until a machine is told from a person, 1 s
	ListLag time.Duration // created until the call list shows it, 0
	Deliver time.Duration // a message accepted until delivered, 500 ms
	Speak   time.Duration // a character, in a call that asks for keys, 65 ms
}

// Exchange is one request and its answer as the network saw them, without
// credentials.
type Exchange struct {
	At     time.Time
	Method string
	Path   string
	Query  url.Values
	Form   url.Values // of the body
	Status int        // 0 if no answer was given
	Answer []byte
	Fault  FaultKind // what was done to it, empty if nothing
}

// Server is one simulated Twilio. Use New, and Close at the end.
type Server struct {
	cfg  Config
	mux  *http.ServeMux
	http *http.Server
	done chan struct{}

	mu         sync.Mutex
	closed     bool
	calls      []*call // oldest first
	messages   []*message
	behaviours map[string][]Behaviour
	faults     []*armed
	account    Account
	events     []func()
	news       chan struct{} // holds one token when events were added

	busy sync.WaitGroup // handlers and calls; Add only under mu while open
	tell sync.WaitGroup // the goroutine that runs callbacks
}

// New starts the simulation, without a network; see [Server.Serve] and
// [Server.Transport].
func New(cfg Config) *Server {
	orDuration(&cfg.Timing.Queue, 100*time.Millisecond)
	orDuration(&cfg.Timing.Dial, 200*time.Millisecond)
	orDuration(&cfg.Timing.Detect, time.Second)
	orDuration(&cfg.Timing.Deliver, 500*time.Millisecond)
	orDuration(&cfg.Timing.Speak, 65*time.Millisecond)
	if cfg.Balance == "" {
		cfg.Balance = "20.00"
	}
	if cfg.Default == nil {
		cfg.Default = Answer{}
	}
	s := &Server{
		cfg: cfg, mux: http.NewServeMux(), done: make(chan struct{}),
		account: Account{Status: "active", Type: "Full", Balance: cfg.Balance}, behaviours: make(map[string][]Behaviour), news: make(chan struct{}, 1),
	}
	s.routes()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.tell.Go(s.notify)
	return s
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

// Serve answers on ln until Close, and then returns nil.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends connections, calls and hanging requests, and waits for all of the
// server's goroutines. Not to be called from a callback.
func (s *Server) Close() {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	if !already {
		close(s.done)
	}
	s.mu.Unlock()
	_ = s.http.Close() // the listener's error is of no use here
	s.busy.Wait()
	s.tell.Wait()
}

// enter counts a handler, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.busy.Add(1)
	return true
}

// post queues a callback; s.mu must be held, so that their order is that of the
// changes they tell of.
func (s *Server) post(event func()) {
	s.events = append(s.events, event)
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// notify runs the callbacks until the server is closed.
func (s *Server) notify() {
	for {
		s.mu.Lock()
		events := s.events
		s.events = nil
		s.mu.Unlock()
		for _, event := range events {
			event()
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-s.news:
		case <-s.done:
			return
		}
	}
}
