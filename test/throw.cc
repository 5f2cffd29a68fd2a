// libivykis: the C++ part of throw.sh.
// SPDX-License-Identifier: LGPL-2.1-or-later

#include <stdexcept>

extern "C" void throw_something()
{
	throw std::runtime_error("by a handler");
}

extern "C" bool catches(void (*fn)())
{
	try {
		fn();
	} catch (const std::runtime_error &) {
		return true;
	}

	return false;
}
