/*
 * lambda: threads find primes, and a lambda in the loop adds them up (C++17).
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	c++ -std=c++17 -pthread lambda.cc -o lambda \
 *		$(pkg-config --cflags --libs ivykis)
 *	./lambda
 */

#include <iv_event_raw.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

// Registered for as long as it lives, in the thread that made it.  It cannot be
// moved or copied, as its address is what posts go to.
class raw_event {
public:
	explicit raw_event(std::function<void()> call)
		: handler(std::move(call))
	{
		IV_EVENT_RAW_INIT(&event);
		event.cookie = this;
		event.handler = [](void *self) {
			static_cast<raw_event *>(self)->handler();
		};
		if (iv_event_raw_register(&event) < 0)
			throw std::runtime_error("iv_event_raw_register");
	}
	~raw_event() { iv_event_raw_unregister(&event); }

	raw_event(const raw_event &) = delete;
	raw_event &operator=(const raw_event &) = delete;

	void post() const { iv_event_raw_post(&event); }

private:
	struct iv_event_raw event = {};
	std::function<void()> handler;
};

static bool is_prime(int n)
{
	for (int i = 2; i * i <= n; i++) {
		if (n % i == 0)
			return false;
	}

	return n > 1;
}

static int sum_of_primes(int below, int num_threads)
{
	std::mutex mutex;
	std::vector<int> found;
	std::vector<std::thread> threads;
	int running = num_threads;
	int sum = 0;

	// A post is a hint to check, so the handler takes all there is.
	raw_event news([&] {
		std::vector<int> primes;
		bool all;
		{
			std::lock_guard lock(mutex);
			primes.swap(found);
			all = running == 0;
		}
		sum += std::accumulate(primes.begin(), primes.end(), 0);
		if (all)
			iv_quit();
	});

	for (int first = 0; first < num_threads; first++) {
		threads.emplace_back([&, first] {
			for (int n = first; n < below; n += num_threads) {
				if (!is_prime(n))
					continue;
				std::lock_guard lock(mutex);
				found.push_back(n);
				news.post();
			}
			std::lock_guard lock(mutex);
			running--;
			news.post();
		});
	}

	iv_main();
	for (auto &thread : threads)
		thread.join();

	return sum;
}

int main()
{
	iv_init();
	std::cout << sum_of_primes(10000, 4) << '\n';
	iv_deinit();

	return EXIT_SUCCESS;
}
