"""
Budgets for tests: what a test spends is paid before it is sent, and a test that would spend more fails.

```python
@pytest.mark.budget("$0.05")
def test_my_agent():
    assert "tides" in my_agent("What moves the tides?")
```

pytest loads `bursar_pytest.plugin` wherever bursar is installed; it does nothing until a test has the mark, or
`--bursar-budget` is given.
"""
