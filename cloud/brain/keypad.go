package brain

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/speech"
	"sentinel.home.arpa/shared/twilio"
)

// maxKeyBody is more than Twilio posts with a key.
const maxKeyBody = 16 << 10

// keypad takes the keys that are pressed during calls. Its handler is public: it has a listener
// and routes of its own, trusts nothing but Twilio's signature and the path of a call, and asks
// nobody who they are.
type keypad struct {
	tokens  func() []string // the account's, two while one is replaced
	secret  []byte          // makes paths that nobody can guess
	press   func(ctx context.Context, p sentinel.Pressed) error
	refused func(reason string)

	mu      sync.Mutex
	address string            // https://host[:port], as Twilio is told it; empty: not known yet
	spoken  map[string]spoken // by call, those under way
	taken   map[string]string // the keys of each that are on disk
}

// open has calls ask for keys from now on, at an address.
func (k *keypad) open(address string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.address = address
}

func (k *keypad) at() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.address
}

// begin has a call ask for keys, and gives what it says of them. Those that were pressed before, in
// an earlier process, count. Without an address yet it goes without keys, unless that process placed it.
func (k *keypad) begin(c *sentinel.Call, s spoken) (to, prompt, bye string, err error) {
	if prompt, err = s.texts.SayKeys(notify.Keys, s.stoppable, s.to.language); err != nil {
		return "", "", "", err
	}
	if bye, err = s.texts.SayKeys(notify.KeyNone, s.stoppable, s.to.language); err != nil {
		return "", "", "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spoken[c.ID], k.taken[c.ID] = s, c.Keys
	if k.address == "" {
		return "", "", "", nil
	}
	return k.address + k.path(c.ID, 0), prompt, bye, nil
}

// over ends a call: its keys mean nothing from now on.
func (k *keypad) over(call string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.spoken, call)
	delete(k.taken, call)
}

// under is how a call talks, if it is under way.
func (k *keypad) under(call string) (spoken, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.spoken[call]
	return s, ok
}

// spoken is how a call talks.
type spoken struct {
	texts     *notify.Texts
	text      string // what it said first
	to        tongue
	stoppable bool
}

// path is where the next key of a call goes, after step others.
func (k *keypad) path(call string, step int) string {
	rest := base64.RawURLEncoding.EncodeToString([]byte(call)) + "/" + strconv.Itoa(step)
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(rest)) // a hash never fails
	return "/call/" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]) + "/" + rest
}

// took notes a key that is on disk.
func (k *keypad) took(f *sentinel.KeyPressed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taken[f.Call] += f.Key
}

func (k *keypad) keys(call string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken[call]
}

// ServeHTTP implements http.Handler.
func (k *keypad) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	no := func(status int, reason string) {
		k.refused(reason)
		http.Error(w, http.StatusText(status), status)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxKeyBody)
	if r.Method != http.MethodPost {
		no(http.StatusMethodNotAllowed, "key_method")
		return
	}
	if err := r.ParseForm(); err != nil {
		no(http.StatusBadRequest, "key_malformed")
		return
	}
	if !twilio.Signed(k.at()+r.URL.RequestURI(), r.PostForm, r.Header.Get("X-Twilio-Signature"), k.tokens()...) {
		no(http.StatusForbidden, "key_signature")
		return
	}
	call, step, ok := k.call(r.URL.Path)
	if !ok {
		no(http.StatusNotFound, "key_path")
		return
	}
	say, under := k.under(call)
	if !under {
		k.answer(w, nobodys(), notify.KeyOver, "", 0)
		return
	}
	k.pressed(w, r, say, sentinel.Pressed{Call: call, Key: r.PostForm.Get("Digits"), Step: step})
}

// pressed answers a key once it is on disk. One that arrives again is answered as before.
func (k *keypad) pressed(w http.ResponseWriter, r *http.Request, say spoken, p sentinel.Pressed) {
	ctx, cancel := context.WithTimeout(r.Context(), appendWithin)
	defer cancel()
	err := k.press(ctx, p)
	taken := k.keys(p.Call)
	switch next := p.Step + 1; {
	case err != nil, len(taken) < next || taken[p.Step:next] != p.Key: // no key, or none that means anything: it is asked again
		what := notify.Keys
		if err != nil {
			what = notify.KeyLater
		}
		k.answer(w, say, what, p.Call, p.Step)
	case p.Key == sentinel.KeyKnown:
		k.answer(w, say, notify.KeyKnown, "", 0)
	case p.Key == sentinel.KeyStop && p.Step > 0 && taken[p.Step-1:p.Step] == sentinel.KeyStop:
		k.answer(w, say, notify.KeyStopped, "", 0)
	case p.Key == sentinel.KeyStop:
		k.answer(w, say, notify.KeySure, p.Call, next)
	default:
		k.again(w, say, p.Call, next)
	}
}

// call reads a path that this keypad made.
func (k *keypad) call(path string) (id string, step int, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 {
		return "", 0, false
	}
	call, err := base64.RawURLEncoding.DecodeString(parts[3])
	step, wrong := strconv.Atoi(parts[4])
	if err != nil || wrong != nil || step < 0 || !hmac.Equal([]byte(k.path(string(call), step)), []byte(path)) {
		return "", 0, false
	}
	return string(call), step, true
}

// answer says something; with a call it asks for its next key.
func (k *keypad) answer(w http.ResponseWriter, say spoken, what, call string, step int) {
	text, err := say.texts.SayKeys(what, say.stoppable, say.to.language)
	if err != nil {
		text = ""
	}
	twiml := ""
	if call == "" && err == nil {
		twiml, err = twilio.Say(text, say.to.voice, say.to.code)
	} else if err == nil {
		twiml, err = twilio.AskTwice("", say.to.voice, say.to.code, twilio.Keys{Action: k.at() + k.path(call, step), Prompt: text})
	}
	k.write(w, twiml, err)
}

// again says the whole text once more.
func (k *keypad) again(w http.ResponseWriter, say spoken, call string, step int) {
	prompt, err := say.texts.SayKeys(notify.Keys, say.stoppable, say.to.language)
	twiml := ""
	if err == nil {
		twiml, err = twilio.AskTwice(say.text, say.to.voice, say.to.code, twilio.Keys{Action: k.at() + k.path(call, step), Prompt: prompt})
	}
	k.write(w, twiml, err)
}

func (k *keypad) write(w http.ResponseWriter, twiml string, err error) {
	if err != nil {
		k.refused("key_text")
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, twiml)
}

// nobodys is how a call is answered that nothing is known of.
func nobodys() spoken {
	return spoken{texts: notify.Shipped(), to: tongue{language: speech.English, code: speech.English.Code(), voice: speech.Voice(speech.English.Code())}}
}
