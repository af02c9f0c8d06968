package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// long is a flag's name.
var long = regexp.MustCompile(`--[a-z-]+`)

// takes are the flags of all verbs that a value follows.
func takes(u usage) []string {
	var names []string
	for _, f := range u.flags {
		if at := long.FindStringIndex(f.name); at != nil && at[1] < len(f.name) {
			names = append(names, f.name[at[0]:at[1]])
		}
	}
	return names
}

// words are what may come next, by the verb that stands there so far, in their order.
func words(u usage) (verbs []string, next map[string][]string) {
	next = map[string][]string{}
	add := func(verb, word string) {
		if _, known := next[verb]; !known {
			verbs, next[verb] = append(verbs, verb), []string{}
		}
		if word != "" && !slices.Contains(next[verb], word) {
			next[verb] = append(next[verb], word)
		}
	}
	for _, v := range u.verbs {
		so := ""
		for word := range strings.FieldsSeq(v.name) {
			add(so, word)
			so = strings.TrimSpace(so + " " + word)
		}
		add(so, "")
		for _, c := range v.choices {
			add(so, c)
		}
		for _, f := range v.flags {
			add(so, long.FindString(f.name))
		}
	}
	for _, f := range u.flags {
		add("", long.FindString(f.name))
	}
	return verbs, next
}

// cases are the branches of a shell's case over the verb. A longer verb is looked for first.
func cases(u usage) string {
	verbs, next := words(u)
	slices.SortStableFunc(verbs, func(a, b string) int { return len(strings.Fields(b)) - len(strings.Fields(a)) })
	var text strings.Builder
	for _, verb := range verbs {
		pattern := fmt.Sprintf("'%s'", verb)
		if verb != "" {
			pattern += fmt.Sprintf(" | '%s '*", verb)
		}
		fmt.Fprintf(&text, "  %s) next='%s' ;;\n", pattern, strings.Join(next[verb], " "))
	}
	return text.String()
}

// function is a shell function's name.
func function(program string) string { return "_" + strings.ReplaceAll(program, "-", "_") }

// bash is the completion for bash, which takes "=" for a word of its own.
func bash(program string, u usage) string {
	return fmt.Sprintf(`# bash completion for %[1]s
%[2]s() {
  local i word skip= verb= next=
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == = ]]; then
      skip=yes
    elif [[ -n $skip ]]; then
      skip=
    else
      case $word in
      %[3]s) [[ ${COMP_WORDS[i + 1]} == = ]] || skip=yes ;;
      -*) ;;
      *) verb="${verb:+$verb }$word" ;;
      esac
    fi
  done
  [[ -z $skip ]] || return 0
  case $verb in
%[4]s  esac
  mapfile -t COMPREPLY < <(compgen -W "$next" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F %[2]s %[1]s
`, program, function(program), strings.Join(takes(u), " | "), cases(u))
}

// zsh is the completion for zsh.
func zsh(program string, u usage) string {
	return fmt.Sprintf(`#compdef %[1]s
local word skip= verb= next=
for word in ${words[2,CURRENT-1]}; do
  if [[ -n $skip ]]; then
    skip=
  else
    case $word in
    %[2]s) skip=yes ;;
    -*) ;;
    *) verb="${verb:+$verb }$word" ;;
    esac
  fi
done
if [[ -n $skip ]]; then
  _files
  return
fi
case $verb in
%[3]sesac
compadd -- ${=next} || _files
`, program, strings.Join(takes(u), " | "), cases(u))
}
