package sentinel

// named makes a fact of one type if that is its name. A start after a year makes a great
// many facts, so it makes no other.
func named[T any, F interface {
	*T
	Fact
}](name string) Fact {
	if F(nil).FactName() != name {
		return nil
	}
	return F(new(T))
}
