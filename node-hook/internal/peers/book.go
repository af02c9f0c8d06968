// Package peers is the book of whom this agent talks to: brains and Pis from the
// configuration, those found, and those that answers named. What was learnt is kept on
// disk, so that a restart without a brain in reach still knows the Pis.
//
// It posts nothing and finds nobody itself, and must not import the packages that do.
package peers

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// Limits of how many are talked to; more are left out, the configured ones last.
const (
	MaxBrains = 4
	MaxPis    = 16
)

// source is a program that may teach: a brain, or a Pi of the configuration.
type source struct {
	wire.Peer
	Pis []wire.Peer `json:"pis,omitempty"` // of its site, as it last said

	fixed   bool // from the configuration: its key never changes
	vouched bool // the tailnet says now that it is the brain, so any key is good
}

// Book is safe for concurrent use.
type Book struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	brains []source
	pis    []source
	saved  []byte
}

// Open reads the book at path, which need not exist, and puts the configured brains and
// Pis over it. Without configured brains those of the file stand until others are found.
func Open(path string, brains, pis []wire.Peer, log *slog.Logger) *Book {
	b := &Book{path: path, log: log}
	stored, err := b.read()
	if err != nil {
		log.Warn("the file of learnt peers is left aside", "err", err)
	}
	b.brains, b.pis = overlay(brains, stored.Brains), overlay(pis, stored.Pis)
	if len(brains) == 0 {
		b.brains = stored.Brains
	}
	return b
}

// Peek is Open for who must not write: what it learns is in memory alone.
func Peek(path string, brains, pis []wire.Peer, log *slog.Logger) *Book {
	b := Open(path, brains, pis, log)
	b.path = ""
	return b
}

// overlay gives configured sources what they taught before.
func overlay(configured []wire.Peer, stored []source) []source {
	all := make([]source, 0, len(configured))
	for _, p := range configured {
		s := source{Peer: p, fixed: true}
		if i := at(stored, p.Address); i >= 0 {
			s.Pis = stored[i].Pis
		}
		all = append(all, s)
	}
	return all
}

func at(all []source, address string) int {
	return slices.IndexFunc(all, func(s source) bool { return s.Address == address })
}

// Receivers is whom to talk to now: brains first, then Pis.
func (b *Book) Receivers() []courier.Receiver {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []courier.Receiver
	for _, s := range b.brains {
		key := s.Key
		switch {
		case s.vouched:
			key = ""
		case key == "":
			continue // nobody says who would answer there
		}
		all = append(all, receiver(s.Peer, key))
	}
	all = all[:min(len(all), MaxBrains)]
	for _, p := range b.allPis() {
		all = append(all, receiver(p, p.Key))
	}
	return all
}

// KeyOf is what a receiver is known to sign with; empty: nothing is known yet.
func (b *Book) KeyOf(to courier.Receiver) wire.PublicKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.brains {
		if to.Key == "" && "http://"+s.Address == to.URL {
			return s.Key
		}
	}
	return to.Key
}

// Brain reports whether a brain is known at an address.
func (b *Book) Brain(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return at(b.brains, address) >= 0
}

func receiver(p wire.Peer, key wire.PublicKey) courier.Receiver {
	name := p.Name
	if name == "" {
		name = p.Address
	}
	return courier.Receiver{Name: name, URL: "http://" + p.Address, Key: key}
}

// allPis lists the Pis by address, what the configuration says first. A Pi may stand
// there several times: once for each of its addresses.
func (b *Book) allPis() []wire.Peer {
	var all []wire.Peer
	add := func(p wire.Peer) {
		known := slices.ContainsFunc(all, func(q wire.Peer) bool { return q.Address == p.Address })
		if !known && len(all) < MaxPis {
			all = append(all, p)
		}
	}
	for _, s := range b.pis {
		add(s.Peer)
	}
	for _, s := range slices.Concat(b.brains, b.pis) {
		for _, p := range s.Pis {
			add(p)
		}
	}
	return all
}

// Found takes the brains that the tailnet shows now. Those known before and not among
// them are forgotten, unless there is none: then the old ones stay, if their key is known.
func (b *Book) Found(found []wire.Peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(found) == 0 {
		b.doubt()
		return
	}
	next := make([]source, 0, len(found))
	for _, p := range found[:min(len(found), MaxBrains)] {
		s := source{Peer: p}
		if i := at(b.brains, p.Address); i >= 0 {
			s = b.brains[i]
			s.Name = p.Name
		}
		s.vouched = true
		next = append(next, s)
	}
	b.brains = next
	b.save()
}

// Lost says that the tailnet cannot be asked: from now on only the learnt keys count.
func (b *Book) Lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubt()
}

func (b *Book) doubt() {
	for i := range b.brains {
		b.brains[i].vouched = false
	}
}

// Learn takes what a verified answer says about brain and Pis. An answer that names no Pis
// says nothing about them.
func (b *Book) Learn(from courier.Receiver, a *wire.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := false
	for _, list := range [][]source{b.brains, b.pis} {
		for i := range list {
			s := &list[i]
			if "http://"+s.Address != from.URL {
				continue
			}
			if !s.fixed && a.BrainKey != s.Key && a.BrainKey.Validate() == nil {
				s.Key, changed = a.BrainKey, true
			}
			if pis := usable(a.Pis); len(pis) > 0 && !slices.Equal(pis, s.Pis) {
				s.Pis, changed = pis, true
			}
		}
	}
	if changed {
		b.save()
	}
}

// usable leaves out the peers that could not be talked to or believed.
func usable(peers []wire.Peer) []wire.Peer {
	var good []wire.Peer
	for _, p := range peers[:min(len(peers), MaxPis)] {
		if wire.ValidName(p.Name) == nil && p.Key.Validate() == nil && ValidAddress(p.Address) == nil {
			good = append(good, p)
		}
	}
	return good
}

// ValidAddress tells whether an address is host:port and fits into a URL.
func ValidAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 || !validHost(host) || len(address) > 255 {
		return errors.New("must be host:port, such as 192.168.77.2:7777")
	}
	return nil
}

func validHost(host string) bool {
	return host != "" && !slices.ContainsFunc([]byte(host), func(c byte) bool {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		return !letter && (c < '0' || c > '9') && c != '.' && c != '-' && c != ':' && c != '_'
	})
}
