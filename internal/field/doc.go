// Package field holds what people have reported of systems that do this job, as tests:
// small files of events, in the forms in which producers send them, and what has to come
// of them. The one rule it keeps: a case is a file, and says in words what is right.
package field
