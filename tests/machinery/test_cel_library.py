"""The libraries of CEL: each function at its borders, and what it refuses."""

from __future__ import annotations

import pytest

from tiphys.machinery.cel import CelError, compile_expression

TRUE = """
int(2.9) == 2
int(-2.9) == -2
int('-12') == -12
int(timestamp('1970-01-01T00:01:00Z')) == 60
int(duration('1us')) == 1000
uint(18446744073709551615u) == 18446744073709551615u
uint('7') == 7u
double('1.5') == 1.5
double(2) == 2.0
string(1.0) == '1'
string(0.00001) == '1e-05'
string(1000000.0) == '1e+06'
string(123456.5) == '123456.5'
string(-0.5) == '-0.5'
string(1.0 / 0.0) == '+Inf'
string(-1.0 / 0.0) == '-Inf'
string(true) == 'true'
string(b'abc') == 'abc'
string(duration('1m')) == '60s'
string(duration('1500ms')) == '1.5s'
string(timestamp('2024-01-01T00:00:00.5Z')) == '2024-01-01T00:00:00.5Z'
string(timestamp('2024-01-01T00:00:00Z')) == '2024-01-01T00:00:00Z'
0x10 == 16
0xFFu == 255u
-9223372036854775808 < 0
'abc'.substring(1) == 'bc'
'abc'.substring(0, 0) == ''
'abc'.substring(3) == ''
'abc'.substring(1, 3) == 'bc'
'abc'.charAt(3) == ''
'abc'.charAt(0) == 'a'
'a,b,c'.split(',', 2) == ['a', 'b,c']
'a,b'.split(',', 2) == ['a', 'b']
'a,b'.split(',', 0) == []
'a,b'.split(',', -1) == ['a', 'b']
'ab'.split('') == ['a', 'b']
'abcb'.indexOf('b') == 1
'abcb'.indexOf('b', 2) == 3
'abc'.indexOf('', 5) == 3
'abc'.indexOf('x') == -1
'abcb'.lastIndexOf('b') == 3
'abcb'.lastIndexOf('b', 2) == 1
'abc'.lastIndexOf('a', 9) == -1
[1, 2, 1].indexOf(1) == 0
[1, 2, 1].lastIndexOf(1) == 2
[1].lastIndexOf(3) == -1
'aaa'.replace('a', 'b', 2) == 'bba'
'%d%%'.format([5]) == '5%'
'%.2f %e'.format([1.0, 2.0]) == '1.00 2.000000e+00'
'%b %o %x %X'.format([5, 9, 255, 'k']) == '101 11 ff 6B'
'%s %s'.format([[1, null], {'b': 2, 'a': true}]) == '[1, null] {a: true, b: 2}'
'x1y22'.find('[0-9]+') == '1'
'xy'.find('[0-9]+') == ''
'x1y22'.findAll('[0-9]+') == ['1', '22']
'x1y22'.findAll('[0-9]+', 1) == ['1']
'ÄB'.lowerAscii() == 'Äb'
'äb'.upperAscii() == 'äB'
strings.quote('a"b\\n') == '"a\\\\"b\\\\n"'
['a', 'b'].join() == 'ab'
['a', 'b'].join('-') == 'a-b'
' a '.trim() == 'a'
[].sum() == 0
[1, 2].sum() == 3
[3, 1, 2].min() == 1
[1, 3, 2].max() == 3
[1, 1, 2].isSorted()
![2, 1].isSorted()
[1, 1.0, 2].distinct() == [1, 2]
[[1], [[2]]].flatten() == [1, [2]]
[[1], [[2]]].flatten(2) == [1, 2]
[[1]].flatten(0) == [[1]]
[1, 2, 3].slice(1, 3) == [2, 3]
[1, 2, 3].slice(1, 1) == []
lists.range(3) == [0, 1, 2]
lists.range(0) == []
[3, 1, 2].sort() == [1, 2, 3]
['b', 'a'].sortBy(x, x) == ['a', 'b']
[1, 2].first().value() == 1
[1, 2].last().value() == 2
![].first().hasValue()
sets.contains([1, 2], [2])
!sets.contains([1], [1, 2])
sets.equivalent([1, 2, 2], [2, 1])
!sets.equivalent([1, 2], [1])
sets.intersects([1, 2], [2, 3])
!sets.intersects([1], [2])
optional.of(1).orValue(2) == 1
optional.none().orValue(2) == 2
!optional.ofNonZeroValue(0).hasValue()
!optional.ofNonZeroValue('').hasValue()
!optional.ofNonZeroValue([]).hasValue()
!optional.ofNonZeroValue({}).hasValue()
optional.ofNonZeroValue(1).hasValue()
timestamp('2024-01-02T03:04:05.006Z').getFullYear() == 2024
timestamp('2024-01-02T03:04:05.006Z').getMonth() == 0
timestamp('2024-01-02T03:04:05.006Z').getDate() == 2
timestamp('2024-01-02T03:04:05.006Z').getDayOfMonth() == 1
timestamp('2024-01-07T00:00:00Z').getDayOfWeek() == 0
timestamp('2024-02-01T00:00:00Z').getDayOfYear() == 31
timestamp('2024-01-02T03:04:05.006Z').getHours() == 3
timestamp('2024-01-02T03:04:05.006Z').getHours('-03:30') == 23
timestamp('2024-01-02T03:04:05.006Z').getHours('+01:00') == 4
timestamp('2024-01-02T03:04:05.006Z').getMilliseconds() == 6
duration('1h30m').getHours() == 1
duration('1h30m').getMinutes() == 90
duration('1500ms').getSeconds() == 1
duration('1500ms').getMilliseconds() == 1500
quantity('1Ki').asInteger() == 1024
!format.dns1123Label().validate('a').hasValue()
format.dns1123Label().validate('A').hasValue()
!format.dns1123LabelPrefix().validate('a-').hasValue()
format.dns1123Label().validate('A').value().size() == 1
!format.dns1123Subdomain().validate('a.b').hasValue()
format.dns1123Subdomain().validate('a..b').hasValue()
!format.dns1123SubdomainPrefix().validate('a.b-').hasValue()
!format.dns1035Label().validate('a1').hasValue()
format.dns1035Label().validate('1a').hasValue()
!format.qualifiedName().validate('a.b/c').hasValue()
format.qualifiedName().validate('a/b/c').hasValue()
!format.labelValue().validate('').hasValue()
format.labelValue().validate('-a').hasValue()
!format.uri().validate('http://a').hasValue()
format.uri().validate('a b').value() == ['invalid uri']
!format.uuid().validate('12345678-1234-4234-8234-123456789012').hasValue()
format.uuid().validate('x').hasValue()
!format.byte().validate('aGk=').hasValue()
format.byte().validate('!').hasValue()
!format.date().validate('2024-02-29').hasValue()
format.date().validate('2023-02-29').hasValue()
!format.datetime().validate('2024-01-01T00:00:00Z').hasValue()
format.datetime().validate('2024').hasValue()
format.named('dns1123Label').hasValue()
!format.named('unheard').hasValue()
ip('fe80::1').isLinkLocalUnicast()
!ip('10.0.0.1').isLinkLocalUnicast()
ip('ff02::1').isLinkLocalMulticast()
!ip('ff0e::1').isLinkLocalMulticast()
!ip('fe80::1').isLinkLocalMulticast()
ip('8.8.8.8').isGlobalUnicast()
!ip('fe80::1').isGlobalUnicast()
!ip('127.0.0.1').isGlobalUnicast()
!ip('0.0.0.0').isGlobalUnicast()
!ip('ff0e::1').isGlobalUnicast()
ip('::').isUnspecified()
ip('10.0.0.1').isGlobalUnicast()
!ip('255.255.255.255').isGlobalUnicast()
ip('224.0.0.1').isLinkLocalMulticast()
!ip('224.0.1.1').isLinkLocalMulticast()
ip('::1').isLoopback()
ip('::1').family() == 6
cidr('10.1.2.0/24').containsIP(ip('10.1.2.3'))
!cidr('10.1.2.0/24').containsIP('10.1.3.3')
!cidr('10.1.2.0/24').containsIP('fd00::1')
cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')
cidr('10.0.0.0/8').containsCIDR(cidr('10.0.0.0/8'))
!cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')
!cidr('10.0.0.0/8').containsCIDR('fd00::/64')
cidr('10.1.2.3/24').ip() == ip('10.1.2.3')
cidr('10.1.2.3/24').masked() == cidr('10.1.2.0/24')
cidr('10.1.2.0/24').prefixLength() == 24
isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0') && !isCIDR('10.0.0.0/33')
url('https://[::1]:80/a b?x=1&x=2&y=').getHostname() == '::1'
url('https://[::1]:80/').getPort() == '80'
url('https://u:p@a.b:81/').getHost() == 'a.b:81'
url('https://a.b/').getHostname() == 'a.b'
url('https://a.b/').getPort() == ''
url('https://a.b/c d').getEscapedPath() == '/c%20d'
url('https://a.b?x=1&x=2&y=').getQuery() == {'x': ['1', '2'], 'y': ['']}
url('/only/a/path').getScheme() == ''
isURL('/a') && isURL('a:b') && !isURL('a')
-7 / 2 == -3 && 7 / -2 == -3 && -7 / -2 == 3 && -7 % 2 == -1 && 7 % -2 == 1
7u / 2u == 3u && 7u % 2u == 1u
1.0 / 0.0 == -1.0 / -0.0
-1.0 / 0.0 == 1.0 / -0.0
1.5 - 0.5 == 1.0 && 1.5 * 2.0 == 3.0 && 1.5 + 0.5 == 2.0
-(-9223372036854775807) == 9223372036854775807
9223372036854775806 + 1 == 9223372036854775807
-9223372036854775807 - 1 == -9223372036854775808
18446744073709551614u + 1u == 18446744073709551615u
-(1.5) == -1.5
'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]
duration('1h') + duration('1m') == duration('61m')
duration('1h') - duration('1m') == duration('59m')
duration('1h') + timestamp('2020-01-01T00:00:00Z') == timestamp('2020-01-01T01:00:00Z')
timestamp('2020-01-01T01:00:00Z') - timestamp('2020-01-01T00:00:00Z') == duration('1h')
timestamp('2020-01-01T01:00:00Z') - duration('1h') == timestamp('2020-01-01T00:00:00Z')
timestamp('2024-01-02T03:04:05.006Z').getMinutes() == 4
timestamp('2024-01-02T03:04:05.006Z').getSeconds() == 5
timestamp('2024-01-02T03:04:05Z').getHours('') == 3
timestamp('2024-01-02T03:04:05Z').getHours('02:30') == 5
timestamp('2024-07-02T03:04:05Z').getHours('Europe/Berlin') == 5
timestamp('2024-01-06T00:00:00Z').getDayOfWeek() == 6
duration('-1500ms').getSeconds() == -1
duration('1h30m30s').getSeconds() == 5430
1 in {1: 2} && !(2 in {1: 2}) && !([1] in {1: 2})
[1] in [[1]] && 1.0 in [1]
"""
FALSE = """
int('1.5') | strconv.ParseInt: parsing "1.5": invalid syntax
int(1e300) | integer overflow
int(1.0 / 0.0) | integer overflow
int(0.0 / 0.0) | integer overflow
int('9223372036854775808') | integer overflow
uint(-1.0) | unsigned integer overflow
uint('-1') | strconv.ParseUint: parsing "-1": invalid syntax
uint(-1) | unsigned integer overflow
double('x') | strconv.ParseFloat: parsing "x": invalid syntax
bool('maybe') | strconv.ParseBool: parsing "maybe": invalid syntax
'abc'.substring(2, 1) | index out of range
'abc'.substring(-1) | index out of range: -1
'abc'.substring(1, 4) | index out of range: 4
'abc'.charAt(4) | index out of range: 4
'abc'.indexOf('a', -1) | index out of range: -1
'abc'.lastIndexOf('a', -1) | index out of range: -1
'%s %s'.format([1]) | index out of range
'%.1000f'.format([1.0]) | precision 1000 is too large
[].min() | min called on empty list
[].max() | max called on empty list
[1].flatten(-1) | level must be non-negative
[1].slice(-1, 1) | negative indexes not supported
[1].slice(1, 0) | start index must be less than or equal to end index
[1].slice(0, 2) | list is length 1
lists.range(-1) | size must be non-negative
lists.range(1000001) | actual cost limit exceeded
optional.none().value() | optional.none() dereference
timestamp('2024-01-01T00:00:00Z').getHours('Mars') | unknown time zone Mars
duration('1h').getFullYear() | no such overload
quantity('1m').asInteger() | cannot convert value to integer
9223372036854775809 | invalid int literal
18446744073709551616u | invalid int literal
{'a': 1, 'a': 2} | repeated key: a
9223372036854775807 + 1 | integer overflow
-9223372036854775808 - 1 | integer overflow
-(-9223372036854775808) | integer overflow
9223372036854775807 * 2 | integer overflow
18446744073709551615u + 1u | unsigned integer overflow
0u - 1u | unsigned integer overflow
1 % 0 | modulus by zero
1u / 0u | division by zero
dyn(1.5) % dyn(1.0) | no such overload
dyn(1) + dyn(1u) | no such overload
dyn(1.0) + dyn(1) | no such overload
-dyn(1u) | no such overload
-dyn(true) | no such overload
1 in dyn('a') | no such overload
dyn(timestamp('2020-01-01T00:00:00Z')) + dyn(timestamp('2020-01-01T00:00:00Z')) | no such overload
dyn(duration('1h')) - dyn(timestamp('2020-01-01T00:00:00Z')) | no such overload
dyn('a') - dyn('b') | no such overload
dyn([1]) + dyn('a') | no such overload
timestamp('9999-12-31T23:00:00Z') + duration('2h') | timestamp overflow
timestamp('2024-01-01T00:00:00Z').getHours('+1:00') | unknown time zone +1:00
ip('10.0.0') | IP Address "10.0.0" is not a valid IP address
ip('10.0.0.1/8') | IP Address "10.0.0.1/8" is not a valid IP address
cidr('10.0.0.1') | network address parse error during conversion from string: "10.0.0.1"
cidr('10.0.0.1/33') | network address parse error during conversion from string: "10.0.0.1/33"
url('a') | URL parse error during conversion from string: parse "a": invalid URI for request
url('http://[::1') | URL parse error during conversion from string
cidr('10.0.0.0/8').containsIP('x') | IP Address "x" is not a valid IP address
"""


def lines(text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if line]


@pytest.mark.parametrize("text", lines(TRUE))
def test_a_function_gives_what_it_promises(text: str) -> None:
    assert compile_expression(text).run({}) is True


@pytest.mark.parametrize("line", lines(FALSE))
def test_a_function_refuses_what_it_cannot_do(line: str) -> None:
    text, _, message = line.partition(" | ")
    with pytest.raises(CelError) as refused:
        compile_expression(text).run({})
    assert message in str(refused.value)
