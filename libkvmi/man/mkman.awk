# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Manual pages of section 3 from the kernel-doc comments in the sources:
#
#   awk -v dir=DIR -v version=V -f mkman.awk FILE.c...

function begin()
{
	name = short = ret = ""
	nparams = ndesc = 0
	where = "params"
}

function escape(s)
{
	gsub(/\\/, "\\e", s)
	gsub(/-/, "\\-", s)
	# "@param" in running text is the parameter.
	s = gensub_ref(s)
	if (s ~ /^[.']/)
		s = "\\&" s
	return s
}

# awk as POSIX has it knows no back-references.
function gensub_ref(s,	out, i)
{
	out = ""
	while ((i = match(s, /@[a-z_]+/))) {
		out = out substr(s, 1, i - 1) "\\fI" \
			substr(s, i + 1, RLENGTH - 1) "\\fP"
		s = substr(s, i + RLENGTH)
	}
	return out s
}

function put(s) { print s > file }

function page(	i, refs, n, seen, r)
{
	file = dir "/" name ".3"
	put(".\\\" From the comment at the function.")
	put(".TH " name " 3 \"\" \"libkvmi " version "\" \"libkvmi\"")
	put(".SH NAME")
	put(name " \\- " escape(short))
	put(".SH SYNOPSIS")
	put(".nf")
	put(".B #include <kvmi.h>")
	put(".PP")
	put("\\fB" proto ";\\fP")
	put(".fi")
	put(".PP")
	put("Link with \\fI\\-lkvmi\\fP.")
	put(".SH DESCRIPTION")
	for (i = 1; i <= ndesc; i++)
		put(desc[i] == "" ? ".PP" : escape(desc[i]))
	for (i = 1; i <= nparams; i++) {
		put(".TP")
		put(".I " pname[i])
		put(escape(ptext[i]))
	}
	put(".SH RETURN VALUE")
	put(ret == "" ? "None." : escape(ret))
	put(".SH SEE ALSO")
	n = 0
	r = all
	while (match(r, /kvmi_[a-z0-9_]+\(\)/)) {
		refs = substr(r, RSTART, RLENGTH - 2)
		if (refs != name && !((name, refs) in seen)) {
			seen[name, refs] = 1
			put(".BR " refs " (3),")
		}
		r = substr(r, RSTART + RLENGTH)
	}
	put(".BR libkvmi (3)")
	close(file)
}

/^\/\*\*$/ { begin(); all = ""; incomment = 1; next }

incomment && /^ \*\/$/ {
	incomment = 0
	inproto = 1
	proto = ""
	next
}

incomment {
	line = $0
	sub(/^ \* ?/, "", line)
	all = all " " line
	if (name == "") {
		name = line
		sub(/\(\).*/, "", name)
		short = line
		sub(/^[^-]*- /, "", short)
	} else if (line ~ /^@[a-z_]+: /) {
		where = "params"
		pname[++nparams] = substr(line, 2, index(line, ":") - 2)
		ptext[nparams] = substr(line, index(line, ":") + 2)
	} else if (line ~ /^Return: /) {
		where = "return"
		ret = substr(line, 9)
	} else if (line == "") {
		if (where == "desc")
			desc[++ndesc] = ""
		else if (where == "params")
			where = "desc"
	} else {
		sub(/^\t/, "", line)
		if (where == "params")
			ptext[nparams] = ptext[nparams] " " line
		else if (where == "return")
			ret = ret " " line
		else
			desc[++ndesc] = line
	}
	next
}

inproto {
	if ($0 ~ /^{/) {
		gsub(/\t+ */, " ", proto)
		sub(/\* kvmi/, "*kvmi", proto)
		inproto = 0
		# Only what the header declares: not static, not internal.
		if (proto !~ /^static/ && name ~ /^kvmi_/)
			page()
	} else {
		proto = proto (proto == "" ? "" : " ") $0
	}
}
