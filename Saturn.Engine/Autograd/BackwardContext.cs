using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine.Autograd;

/// <summary>Where a gradient goes.</summary>
/// <param name="Buffer">The destination; None if the gradient is not wanted.</param>
/// <param name="Mode">Whether to overwrite it or to add to it.</param>
public readonly record struct GradientTarget(DeviceBuffer Buffer, GradientMode Mode)
{
    /// <summary>Whether the gradient is wanted.</summary>
    public bool IsWanted => !Buffer.IsNone;
}

/// <summary>What a node's backward pass works with.</summary>
public readonly ref struct BackwardContext
{
    private readonly Node node;

    internal BackwardContext(Node node) => this.node = node;

    /// <summary>The device.</summary>
    public Device Device => node.Device;

    /// <summary>∂L/∂output, of the output's shape and type, padding zero.</summary>
    public DeviceBuffer OutputGradient => node.OutputHandle.Gradient!.Buffer;

    /// <summary>The output's shape.</summary>
    public Shape OutputShape => node.OutputHandle.Shape;

    /// <summary>Whether an input's gradient is wanted.</summary>
    public bool Wants(int input) => node.InputHandle(input).RequiresGradient;

    /// <summary>An input's shape.</summary>
    public Shape InputShape(int input) => node.InputHandle(input).Shape;

    /// <summary>An input's element type, which is its gradient's too.</summary>
    public ElementType InputType(int input) => node.InputHandle(input).Type;

    /// <summary>Where to write, or add, an input's gradient. Ask once for each input, and then write all of it.</summary>
    public GradientTarget Target(int input)
    {
        TensorHandle handle = node.InputHandle(input);
        if (!handle.RequiresGradient)
        {
            return default;
        }

        if (handle.Parameter is { } parameter)
        {
            DeviceBuffer buffer = parameter.GradientForBackward(out bool holdsGradient);
            return new GradientTarget(buffer, holdsGradient ? GradientMode.Accumulate : GradientMode.Overwrite);
        }

        handle.GatherWaiting();
        if (handle.Gradient is { } gradient)
        {
            return new GradientTarget(gradient.Buffer, GradientMode.Accumulate);
        }

        handle.Gradient = Storage.Allocate(handle.Device, handle.Shape.StorageCount, handle.Type);
        return new GradientTarget(handle.Gradient.Buffer, GradientMode.Overwrite);
    }

    /// <summary>
    /// Where to leave the gradient of a parameter's value in parts, all of which are written; None where it must be written in one piece to <see cref="Target"/>, because the input is no
    /// parameter's or has a gradient already. Ask instead of <see cref="Target"/>, and go on to it for None.
    /// </summary>
    /// <param name="input">The input.</param>
    /// <param name="count">The number of parts, from 2.</param>
    internal DeviceBuffer TargetInParts(int input, int count)
    {
        TensorHandle handle = node.InputHandle(input);
        return handle.RequiresGradient && handle.Parameter is { } parameter ? parameter.PartsForBackward(count) : DeviceBuffer.None;
    }

    /// <summary>
    /// Where to leave the output's gradient for an input that the output reads through a map: the next convolution's kernel that writes the input's gradient gathers it, and so does whoever asks for
    /// that gradient before. None where <see cref="Target"/> must be asked instead, because the device does not offer it, or because the input has a gradient already, is a leaf or
    /// is another input of the same node.
    /// </summary>
    /// <param name="input">The input; its rows are the output's.</param>
    /// <param name="map">How the output reads the input.</param>
    /// <returns>Memory of the output's shape and type, to be overwritten.</returns>
    internal DeviceBuffer TargetThroughMap(int input, ShortcutMap map)
    {
        TensorHandle handle = node.InputHandle(input);
        TensorHandle output = node.OutputHandle;
        if (!handle.RequiresGradient || handle.Gradient is not null || !handle.Waiting.IsNone || handle.Type != output.Type || !Tape.Current.Produces(handle)
            || node.ReadsTwice(input) || !Device.Convolution.AddsShortcutGradients)
        {
            return DeviceBuffer.None;
        }

        Storage sum = Storage.Allocate(handle.Device, output.Shape.StorageCount, output.Type);
        handle.Waiting = new WaitingGradient(sum, map);
        return sum.Buffer;
    }

    /// <summary>Takes along what waits for an input in other channels; the caller adds it to what <see cref="Target"/> then has overwritten, and disposes it.</summary>
    internal WaitingGradient TakeWaiting(int input)
    {
        TensorHandle handle = node.InputHandle(input);
        WaitingGradient waiting = handle.Waiting;
        handle.Waiting = default;
        return waiting;
    }

    /// <summary>
    /// Like <see cref="Target"/>, but where the input has no gradient yet and the output's shape and type, the output gradient's own memory is handed over, to be
    /// overwritten in place: for kernels that allow it. Check whether <see cref="GradientTarget.Buffer"/> is the output gradient's.
    /// </summary>
    public GradientTarget TargetInPlace(int input)
    {
        TensorHandle handle = node.InputHandle(input);
        if (handle.RequiresGradient && handle.Parameter is null && handle is { Gradient: null, Waiting.IsNone: true } && handle.Shape == OutputShape && handle.Type == node.OutputHandle.Type)
        {
            handle.Gradient = node.OutputHandle.Gradient!;
            handle.Gradient.Retain();
            return new GradientTarget(handle.Gradient.Buffer, GradientMode.Overwrite);
        }

        return Target(input);
    }

    /// <summary>The output's gradient is an input's as well, as in a sum: copies it where nothing was there, else adds it.</summary>
    public void PassThrough(int input) => Give(input, OutputGradient);

    /// <summary>The output's gradient is the one input's whole gradient, as of an identity: its memory is handed over where nothing was there, else it is added.</summary>
    public void HandOver(int input)
    {
        GradientTarget target = TargetInPlace(input);
        if (target.Mode == GradientMode.Accumulate)
        {
            Device.Elementwise.Accumulate(InputShape(input), OutputGradient, target.Buffer);
        }
        else if (target.IsWanted && target.Buffer != OutputGradient)
        {
            Device.Copy(OutputGradient, target.Buffer);
        }
    }

    /// <summary>Adds a computed gradient (of the input's shape) to an input's; for kernels that can only overwrite.</summary>
    public void Add(int input, Tensor gradient) => Give(input, gradient.Buffer);

    private void Give(int input, DeviceBuffer gradient)
    {
        GradientTarget target = Target(input);
        if (!target.IsWanted)
        {
            return;
        }

        if (target.Buffer.Type != gradient.Type)
        {
            Device.Elementwise.Convert(InputShape(input), gradient, target.Buffer, target.Mode);
        }
        else if (target.Mode == GradientMode.Overwrite)
        {
            Device.Copy(gradient, target.Buffer);
        }
        else
        {
            Device.Elementwise.Accumulate(InputShape(input), gradient, target.Buffer);
        }
    }
}
