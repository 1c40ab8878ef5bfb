#include "fs/client_pages.hpp"

#include <algorithm>

#include "fs/notifications.hpp"

namespace ouro::fs {
namespace {

// However short attributes are cached.
constexpr std::uint64_t kShortestPeriodNs = 100'000'000;

std::int64_t period_of(const CachePolicy& cache) {
  return static_cast<std::int64_t>(std::max(cache.attribute_timeout_ns, kShortestPeriodNs));
}

// `notifier`: by which pages may be dropped, or null. False: they are to be, and may not.
bool settle(passthrough::Tree& tree, passthrough::Executor& executor, passthrough::NodeId node,
            const Notifier* notifier) {
  const auto content = tree.look_at_content(executor, node);
  const std::uint64_t change = content ? content->foreign_change() : 0;
  if (change == 0) return true;
  if (notifier == nullptr) return false;
  drop_pages(*notifier, node);
  content->pages_dropped(change);
  return true;
}

}  // namespace

bool settle_pages(const OperationContext& context, passthrough::NodeId node) {
  return settle(context.tree, context.executor, node,
                context.in_worker ? &context.notifier : nullptr);
}

void PageDropper::drop_soon(passthrough::NodeId node) {
  if (std::ranges::find(waiting(), node) == waiting().end()) add(node);
}

void PageDropper::work(std::vector<passthrough::NodeId>& nodes) {
  for (const passthrough::NodeId node : nodes) drop_pages(notifier_, node);
}

PageWatch::PageWatch(loop::AioContext& context, passthrough::Tree& tree,
                     const Connection& connection, const passthrough::ProcessIdentity& identity,
                     const Notifier& notifier)
    : tree_(tree),
      notifier_(notifier),
      executor_(identity),
      period_ns_(period_of(connection.cache)),
      timer_(context,
             [this] {
               running_ = true;
               worker_.submit(*this);
             }),
      worker_(context, 1) {}

void PageWatch::begin() {
  if (!is_on()) timer_.arm_in(period_ns_);
}

void PageWatch::run() {
  // Of several loops that watch, one does it.
  if (!tree_.take_watch(loop::monotonic_now_ns(), period_ns_)) return;
  for (const passthrough::NodeId node : tree_.open_nodes()) {
    static_cast<void>(settle(tree_, executor_, node, &notifier_));
  }
}

void PageWatch::done() {
  running_ = false;
  if (tree_.open_count() > 0) begin();
}

}  // namespace ouro::fs
