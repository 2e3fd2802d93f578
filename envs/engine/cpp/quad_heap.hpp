// A priority queue: a heap with four children a node, flatter than a heap with two. It chooses among the children
// without a branch, for no branch could be predicted.
#pragma once

#include <cstddef>
#include <vector>

namespace tokenfleet {

// Order has `Item`, `before(a, b)` and `kLast`, an item that comes after every other. No two items are equal.
template <typename Order>
class QuadHeap {
public:
    using Item = typename Order::Item;

    QuadHeap() { clear(); }

    void clear() {
        items_.assign(items_.empty() ? 1 + kChildren : items_.size(), Order::kLast);
        size_ = 0;
    }

    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    std::size_t bytes() const { return items_.size() * sizeof(Item); }
    const Item& operator[](std::size_t i) const { return items_[i]; }
    const Item& first() const { return items_[0]; }  // kLast if it is empty

    void push(const Item& item) {
        if (items_.size() < ++size_ + kChildren) items_.resize(2 * items_.size() + kChildren, Order::kLast);
        rise(size_ - 1, item);
    }

    Item pop() {
        const Item first = items_[0];
        remove(0);
        return first;
    }

    // Remove the item at `i`, as `operator[]` numbers them.
    void remove(std::size_t i) {
        const Item last = items_[--size_];
        items_[size_] = Order::kLast;
        if (i < size_) rise(sink(i, last), last);
    }

    // Put `change(item)` in the place of every item; it must keep their order.
    template <typename Change>
    void replace_all(Change change) {
        for (std::size_t i = 0; i < size_; ++i) items_[i] = change(items_[i]);
    }

private:
    static constexpr std::size_t kChildren = 4;
    std::vector<Item> items_;  // the heap, then kLast: every node has all its children
    std::size_t size_ = 0;

    // Let an item rise from an empty node to its place.
    void rise(std::size_t node, const Item& item) {
        while (node > 0 && Order::before(item, items_[(node - 1) / kChildren])) {
            items_[node] = items_[(node - 1) / kChildren];
            node = (node - 1) / kChildren;
        }
        items_[node] = item;
    }

    // Let the children of an empty node that come before `item` rise; returns the node that is empty then.
    std::size_t sink(std::size_t node, const Item& item) {
        while (kChildren * node + 1 < size_) {
            const std::size_t child = first_child(node);
            if (!Order::before(items_[child], item)) break;
            items_[node] = items_[child];
            node = child;
        }
        return node;
    }

    std::size_t first_child(std::size_t node) const {
        const std::size_t child = kChildren * node + 1;
        const std::size_t left = child + Order::before(items_[child + 1], items_[child]);
        const std::size_t right = child + 2 + Order::before(items_[child + 3], items_[child + 2]);
        return left + Order::before(items_[right], items_[left]) * (right - left);  // `?:` would become a branch
    }
};

}  // namespace tokenfleet
